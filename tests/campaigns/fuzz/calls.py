"""Calls of the extension that would be right, but for what is done to them afterwards."""

import random
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

import softstep as ss
from softstep import _core
from tests.campaigns.fuzz.arguments import FLOATS, Arena, shapes

EXTRA = ["lse", "z_loss", "entropy", "argmax", "correct", "target_log_prob"]
# A function, its arguments, and which of them it writes.
Call = tuple[Callable[..., Any], dict[str, Any], list[str]]


class Maker:
    """Draws calls with arrays of an arena."""

    def __init__(self, rng: random.Random, arena: Arena) -> None:
        self.rng, self.arena = rng, arena

    def floats(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return self.arena.array(shape, dtype)

    def out(self, like: np.ndarray) -> Any:
        """Return nothing, the array itself, a fresh one, or a view of the same memory."""
        kind = self.rng.randrange(5)
        if kind == 0:
            return like
        if kind == 1:
            return self.floats(like.shape, like.dtype)
        return like[::-1] if kind == 2 and like.ndim else None

    def x(self, dtypes: list[Any] = FLOATS) -> tuple[np.ndarray, int]:
        shape = shapes(self.rng) or (4,)
        axis = self.rng.randrange(-len(shape), len(shape))
        return self.floats(shape, self.rng.choice(dtypes)), axis

    def softmax(self) -> Call:
        x, axis = self.x()
        where = self.floats(x.shape, np.bool_) if self.rng.random() < 0.3 else None
        more = {"axis": axis, "temperature": self.rng.choice([1.0, 0.5, 30]), "where": where}
        name = self.rng.choice(["softmax", "log_softmax", "logsumexp", "entropy", "backward"])
        if name in ("logsumexp", "entropy"):
            return getattr(_core, name), {"x": x, **more}, []
        if name == "backward":
            name = self.rng.choice(["softmax_backward", "log_softmax_backward"])
            dy = self.floats(x.shape, x.dtype)
            return getattr(_core, name), {"dy": dy, "y": x, "out": self.out(dy), **more}, ["out"]
        return getattr(_core, name), {"x": x, "out": self.out(x), **more}, ["out"]

    def targets(self, x: np.ndarray, axis: int) -> dict[str, Any]:
        rng, batch = self.rng, tuple(np.delete(x.shape, axis).tolist())
        compute = np.float64 if x.dtype == np.float64 else np.float32
        integers = rng.choice([np.int64, np.int32, np.uint8, np.int16, np.uint64, ">i4"])
        kind = rng.randrange(3)
        if kind == 0:
            return {"target": self.floats(batch, integers)}
        if kind == 1:
            return {"target": self.floats(x.shape, rng.choice([x.dtype, compute]))}
        few = (*batch, rng.choice([1, 2, 3]))
        return {
            "target": self.floats(few, integers),
            "target_probabilities": self.floats(few, compute),
        }

    def options(self) -> dict[str, Any]:
        rng = self.rng
        choices: dict[str, list[Any]] = {
            "ignore_index": [-100, 0, 1, -1, 2**40],
            "label_smoothing": [0.0, 0.1, 1.0],
            "smoothing": ["uniform", "exclude_target", "allowed"],
            "gamma": [0.0, 2.0, 0.5],
            "temperature": [1.0, 0.1, 20.0],
            "softcap": [None, 5.0],
            "z_loss": [0.0, 1e-3],
            "reduction": ["mean", "sum", "none"],
            "denominator": [None, 3.0],
            "empty": ["nan", "zero", "raise"],
        }
        return {name: rng.choice(of) for name, of in choices.items() if rng.random() < 0.3}

    def cross_entropy(self) -> Call:
        x, axis = self.x()
        rng, batch = self.rng, tuple(np.delete(x.shape, axis).tolist())
        compute = np.float64 if x.dtype == np.float64 else np.float32
        given = {"logits": x, "axis": axis, **self.targets(x, axis), **self.options()}
        if rng.random() < 0.3:
            given["weight"] = self.floats((x.shape[axis],), compute)
        if rng.random() < 0.3:
            given["sample_weight"] = self.floats(batch, compute)
        if rng.random() < 0.3:
            given["extra"] = tuple(rng.sample(EXTRA, rng.randrange(4)))
        if rng.random() < 0.6:
            given |= {"with_gradient": True, "out": self.out(x)}
        return _core.cross_entropy, given, ["out"]

    def errors(self) -> Call:
        x, axis = self.x([np.float32, np.float64])
        rng = self.rng
        more = {
            "reduction": rng.choice(["mean", "sum", "none"]),
            "with_gradient": rng.random() < 0.6,
            "out": None,
        }
        if more["with_gradient"]:
            more["out"] = self.out(x)
        if rng.random() < 0.4:
            return (
                _core.squared_error,
                {"predictions": x, "target": self.floats(x.shape, x.dtype), **more},
                ["out"],
            )
        batch = tuple(np.delete(x.shape, axis).tolist())
        given = {"scores": x, "margin": rng.choice([1.0, 0.0, 2.5]), **more}
        if rng.random() < 0.5:
            signs = self.floats(x.shape, rng.choice([np.int8, np.float32]))
            return _core.binary_hinge, {**given, "target": signs}, ["out"]
        return (
            _core.hinge,
            {**given, "target": self.floats(batch, np.int64), "axis": axis},
            ["out"],
        )

    def product(self) -> Call:
        rng = self.rng
        m, n, k = (rng.choice([0, 1, 3, 8, 17, 40]) for _ in range(3))
        dtype = rng.choice([np.float32, np.float64])
        storage = rng.choice([dtype, dtype, np.float16, ml_dtypes.bfloat16])
        given: dict[str, Any] = {
            "out": self.floats((m, n), dtype),
            "left": self.floats((m, k), storage),
            "right": self.floats((k, n), storage),
            "add": rng.random() < 0.5,
        }
        for name, rows in (("left_rows", m), ("right_rows", k), ("out_rows", m)):
            if rng.random() < 0.2:
                given[name] = self.floats((rows,), np.int64)
        if rng.random() < 0.3:
            given["bias"] = self.floats((n,), dtype)
        if rng.random() < 0.3:
            given["gate"] = self.floats((m, n), dtype)
        given["relu"] = rng.random() < 0.3
        return _core.product, given, ["out"]

    def panel(self) -> Call:
        rng, shape = self.rng, (self.rng.choice([0, 1, 5, 17]), self.rng.choice([1, 4, 33]))
        index = self.floats(shape[:1], np.int64) if rng.random() < 0.5 else None
        function = rng.choice([_core.panel_copy, _core.panel_add])
        to = self.floats(shape, rng.choice([np.float32, np.float64]))
        source = self.floats(shape, rng.choice(FLOATS))
        return function, {"to": to, "source": source, "index": index}, ["to"]

    def filters(self) -> Call:
        rng, tile = self.rng, _core.FILTER_TILE
        rows, classes = rng.choice([1, 3, 9]), rng.choice([1, 5, 40])
        dlogits = self.floats((rows, classes), rng.choice([np.float32, np.float64]))
        live = self.floats((rng.choice([classes, -(-classes // tile)]),), np.uint8)
        if rng.random() < 0.5:
            return _core.filter_compact, {"dlogits": dlogits, "live": live}, ["dlogits"]
        bounds = self.floats((rows,), dlogits.dtype)
        return _core.filter_mark, {"dlogits": dlogits, "bounds": bounds, "live": live}, ["live"]

    def streams(self) -> Call:
        x = self.floats((self.rng.choice([0, 1, 64, 100]),), np.float32)
        y, z = self.floats(x.shape, x.dtype), self.floats(x.shape, x.dtype)
        return self.rng.choice(
            [
                (_core.stream_read, {"x": x}, []),
                (_core.stream_scale, {"x": x, "factor": 2.0}, ["x"]),
                (_core.stream_copy, {"to": x, "source": y}, ["to"]),
                (_core.stream_update, {"a": x, "b": y, "c": z}, ["a", "b", "c"]),
                (_core.exp, {"x": x}, []),
                (_core.sum_of_squares, {"arrays": [x, y]}, []),
                (_core.as_array, {"object": x, "name": "x"}, []),
            ]
        )

    def segment(self) -> Call:
        """A segment of the classes, from its largest logits to its loss."""
        x, rng = self.floats(self.rng.choice([(3, 5), (1, 17), (8, 33)]), np.float32), self.rng
        given: dict[str, Any] = {
            "logits": x,
            "target": self.floats(x.shape[:1], np.int64),
            "begin": rng.choice([0, 0, 1, -1, 2**40]),
            **self.options(),
        }
        if rng.random() < 0.5:
            given["sums"] = self.floats((len(x), 12), np.float64)  # as `sweep` returns them
            return shift, {**given, "maxima": self.floats((len(x),), np.float64)}, ["sums"]
        rows = self.floats((rng.choice([1, len(x)]),), np.int64)
        return finish, {**given, "out": self.out(x), "rows": rows}, ["out"]

    def update(self) -> Call:
        """A plan of parameters and a step of it."""
        rng, shapes_of = self.rng, [(3,), (2, 2)][: self.rng.randint(1, 2)]
        dtype, adamw = rng.choice(FLOATS), rng.random() < 0.5

        def arrays(dtype: Any) -> list[np.ndarray]:
            return [self.floats(shape, dtype) for shape in shapes_of]

        wide = np.float64 if dtype == np.float64 else np.float32
        states = [arrays(wide) for _ in range(rng.choice([2, 3]) if adamw else rng.randrange(2))]
        masters = arrays(np.float32) if wide != dtype and rng.random() < 0.5 else []
        given: dict[str, Any] = {
            "rule": "adamw" if adamw else "sgd",
            "params": arrays(dtype),
            "states": states,
            "masters": masters,
            "counts": self.floats((len(shapes_of),), np.int64),
            "numbers": [0] * len(shapes_of),
            "grads": arrays(rng.choice([dtype, wide])),
            "options": rng.choice([{}, {"momentum": 0.9}, {"amsgrad": True}, {"lr": float("nan")}]),
            "zero_grads": rng.random() < 0.3,
        }
        return update, given, ["params", "states", "masters", "counts", "grads"]

    def call(self) -> Call:
        kinds = [self.softmax, self.cross_entropy, self.cross_entropy, self.errors]
        kinds += [self.product, self.panel, self.filters, self.streams]
        kinds += [self.segment, self.update]
        return self.rng.choice(kinds)()


def shift(logits: Any, target: Any, sums: Any, maxima: Any, begin: Any, **options: Any) -> None:
    call = _segment(logits, target, None, options)[0]
    call.classes(begin, begin)
    call.shift(sums, maxima)


def finish(logits: Any, target: Any, out: Any, begin: Any, rows: Any, **options: Any) -> None:
    call, x = _segment(logits, target, out, options)
    call.kept(rows)
    call.finish(x, call.sweep(x, begin), out, begin)


def _segment(logits: Any, target: Any, out: Any, options: dict[str, Any]) -> tuple[Any, Any]:
    none = dict.fromkeys(("target_probabilities", "weight", "sample_weight", "out"))
    given: dict[str, Any] = {
        "axis": 1,
        "first": 2,
        "total": 50,
        "with_gradient": out is not None,
        **none,
    }
    call, x, _ = _core.CrossEntropyCall.of_segment(logits, target, **given, **options)
    return call, x


def update(
    rule: Any, params: Any, states: Any, masters: Any, counts: Any, numbers: Any, grads: Any,
    options: Any, zero_grads: Any,
) -> None:  # fmt: skip
    plan = _core.UpdatePlan(rule, params, states, masters, counts, numbers, False, True)
    kind = ss.AdamW if rule == "adamw" else ss.SGD
    known = {**kind([np.zeros(1)], lr=0.1).param_groups[0], **options}
    del known["params"]
    groups = _core.UpdateGroups(rule, [known])
    plan.step(grads, groups, None, True, 1.0, zero_grads, None, 1)
