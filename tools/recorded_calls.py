"""The calls of which `same_bits.py` records the results."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import softstep as ss
from tests.support.cases import compute_dtype
from tests.support.cross_entropy_check import extras_for
from tests.support.optimizer_cases import OPTIONS, SHAPES, arrays

Call = tuple[str, Callable[[], Any]]


def cross_entropies(drawn: list[tuple[Any, dict[str, Any]]]) -> Iterator[Call]:
    """Yield the calls of the losses, the softmax family and the head on drawn arrays."""
    for number, (x, options) in enumerate(drawn):
        axis = options["axis"]
        extra = tuple(
            n for n in extras_for(options["target"], options) if n[:2] not in ("dw", "dt")
        )

        def run(x: Any = x, options: Any = options, extra: Any = extra) -> Any:
            place = np.array(x)
            return [
                ss.cross_entropy(x, **options),
                ss.cross_entropy_with_grad(x, **options, extra=extra),
                ss.cross_entropy_with_grad(place, out=place, **options),
            ]

        def family(x: Any = x, axis: int = axis, t: float = options["temperature"]) -> Any:
            y, logs = (
                ss.softmax(x, axis=axis, temperature=t),
                ss.log_softmax(x, axis=axis, temperature=t),
            )
            return [
                y,
                logs,
                ss.logsumexp(x, axis=axis, temperature=t),
                ss.entropy(x, axis=axis, temperature=t),
                ss.softmax_backward(x, y, axis=axis, temperature=t),
                ss.log_softmax_backward(x, logs, axis=axis, temperature=t),
            ]

        yield f"cross_entropy {number}", run
        yield f"target_gradients {number}", lambda x=x, o=options: target_gradients(x, o)
        yield f"softmax {number}", family
        yield f"head {number}", lambda x=x, o=options, n=number: head(x, o, n)


def target_gradients(x: Any, options: dict[str, Any]) -> Any:
    by_class = options["target"].dtype.kind in "iub" and "target_probabilities" not in options
    names = ("dweight",) if by_class else ("dweight", "dtarget")
    return ss.cross_entropy(x, **options, extra=names)[1]


def head(x: Any, options: dict[str, Any], number: int) -> Any:
    """Make a head of which the logits have the same shape."""
    options = dict(options)
    axis = options.pop("axis")
    classes, dtype = x.shape[axis], x.dtype
    batch = np.moveaxis(x, axis, -1).shape[:-1]
    rng = np.random.default_rng(number)
    hidden = rng.normal(size=(*batch, 7)).astype(dtype)
    weight = rng.normal(size=(classes, 7)).astype(dtype)
    target = options.pop("target")
    if target.shape == x.shape and "target_probabilities" not in options:
        target = np.moveaxis(target, axis, -1)
    options["class_weight"] = options.pop("weight", None)
    if number % 3 == 0:
        options["bias"] = rng.normal(size=classes).astype(compute_dtype(x))
    if number % 4 == 0:
        options["workspace"] = 4 * 8 * (classes + 7) * 8 + 4000
    if number % 5 == 0:
        options["filter_eps"] = 1e-2
    try:
        return ss.linear_cross_entropy_with_grad(hidden, weight, target, **options)
    except (ValueError, TypeError) as error:
        return str(error)


def others(without: list[str]) -> Iterator[Call]:
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        for shape in ((7,), (129, 33), (40000,)):
            x, y = rng.normal(size=shape).astype(dtype), rng.choice([-1, 1], shape).astype(dtype)
            name = f"{np.dtype(dtype)} {shape}"
            yield f"squared_error {name}", lambda x=x, y=y: ss.squared_error_with_grad(x, y)
            yield f"hinge {name}", lambda x=x, y=y: ss.hinge_with_grad(x, y)
            yield f"l2_penalty {name}", lambda x=x: ss.l2_penalty(x, 0.1)
        for shape in ((70, 10), (33, 100), (5, 1041)):
            x, y = rng.normal(size=shape).astype(dtype), rng.integers(0, shape[1], shape[0])
            name = f"{np.dtype(dtype)} {shape}"
            yield f"hinge of classes {name}", lambda x=x, y=y: ss.hinge_with_grad(x, y)
    for rule, grid in OPTIONS.items():
        known = [o for o in grid if not any(o.get(name) for name in without)]
        for number, options in enumerate(known):
            options = {name: value for name, value in options.items() if name not in without}
            for dtype in (np.float32, np.float64, np.float16):
                name = f"{rule} {number} {np.dtype(dtype)}"
                yield name, lambda r=rule, o=options, d=dtype: steps(r, o, d)


def steps(rule: str, options: dict[str, Any], dtype: Any) -> Any:
    rng = np.random.default_rng(1)
    params = arrays(rng, SHAPES, dtype)
    ways: dict[str, Any] = {"stochastic_rounding": True} if dtype == np.float16 else {}
    optimizer = getattr(ss, rule)(params, 0.1, **options, **ways)
    results = [optimizer.step(arrays(rng, SHAPES, dtype)) for _ in range(3)]
    states = {k: v for k, v in optimizer.state_dict().items() if k.startswith("state.")}
    return [params, [result.norm for result in results], states]
