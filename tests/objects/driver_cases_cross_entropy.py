"""The driver's cases of the cross-entropy: every kind of target, every option."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softstep import _core
from tests import reference as ref
from tests.objects.driver_case import DTYPES, Case, overflown
from tests.objects.driver_cases import magnitude, special_logits
from tests.support.cases import compute_dtype, logits_for, roundoff
from tests.support.cross_entropy_check import bounds, half_ulp

SHAPES = [(33, 10), (5, 33), (40, 2), (3, 129), (17, 3), (2, 1041), (9, 16), (4, 1), (3, 1000)]
SHAPES += [(17, 17), (65, 9), (2, 2050), (5, 64)]
IGNORED = -1  # the kernels' mark

# Names and values of the reference's options.
OPTIONS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.5},
    {"label_smoothing": 0.1},
    {"z_loss": 0.01},
    {"softcap": 5.0},
    {"gamma": 2.0},
    {"gamma": 0.5, "label_smoothing": 0.1, "temperature": 2.0},
    {"label_smoothing": 0.2, "smoothing": "exclude_target"},
    {"label_smoothing": 0.2, "smoothing": "allowed", "temperature": 3.0},
    {"softcap": 30.0, "z_loss": 0.1, "label_smoothing": 0.1, "temperature": 2.0},
]
KINDS = ["classes", "probabilities", "wide probabilities", "sparse"]


def targets(
    rng: np.random.Generator, kind: str, x: NDArray[Any]
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The target as the reference takes it, and as the kernels do."""
    rows, classes = x.shape
    compute = compute_dtype(x)
    if kind == "classes":
        target = rng.integers(0, classes, rows)
        target[1::5] = IGNORED
        return {"target": target}, {"target": target.astype(np.int32)}
    if kind == "sparse":
        target = rng.integers(0, classes, (rows, 3))
        target[rng.uniform(size=target.shape) < 0.3] = IGNORED
        mass = rng.uniform(size=target.shape).astype(compute)
        given = {"target": target, "target_probabilities": mass}
        arrays = {"target": target.T.astype(np.int32), "mass": mass.T}
        return given, {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    q = rng.uniform(size=x.shape) / classes
    q[rng.uniform(size=x.shape) < 0.3] = 0
    own = kind == "probabilities"
    target = q.astype(x.dtype if own else compute)
    return {"target": target}, {"probabilities" if own else "wide_probabilities": target}


def kernel_options(options: dict[str, Any]) -> dict[str, float]:
    scale = 1 / options.get("temperature", 1.0)
    return {**_core.cross_entropy_numbers(**options), "scale": scale, "upstream": 0.5}


def expected_of(x: NDArray[Any], given: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    dtype = compute_dtype(x)
    options = {**options, "reduction": "none", "ignore_index": IGNORED}
    options |= {k: v for k, v in given.items() if k != "target"}
    exact = ref.cross_entropy_results(x, given["target"], **options)
    limits = bounds(x, given["target"], options, exact)
    names = ["loss", "lse", "entropy", "argmax", "dtemperature"]
    expected = {name: (overflown(exact[name], dtype), limits[name]) for name in names}
    slope = 0.5 * exact["dlogits"]
    expected["dlogits"] = (slope, 0.5 * limits["dlogits"] + half_ulp(slope, x.dtype))
    if exact["target_log_prob"] is not None:
        expected["nll"] = (-exact["target_log_prob"], limits["target_log_prob"])
    return expected


def options_and_targets(rng: np.random.Generator, dtype: np.dtype[Any]) -> Iterator[Case]:
    number = 0
    for options in OPTIONS:
        for kind in KINDS:
            if kind == "wide probabilities" and dtype.itemsize != 2:
                continue
            if kind != "classes" and (
                "gamma" in options or options.get("smoothing") == "exclude_target"
            ):
                continue
            # Every option beside every kind of target, with two of the shapes.
            for shape in [SHAPES[(number + 5 * k) % len(SHAPES)] for k in range(2)]:
                yield one(rng, dtype, shape, kind, options, weighted=number % 2 == 0)
                number += 1
    for shape in SHAPES:
        yield one(rng, dtype, shape, "classes", {}, weighted=False)


def one(
    rng: np.random.Generator,
    dtype: np.dtype[Any],
    shape: tuple[int, int],
    kind: str,
    options: dict[str, Any],
    *,
    weighted: bool,
) -> Case:
    x = logits_for(rng, shape, dtype)
    given, arrays = targets(rng, kind, x)
    if options.get("smoothing") == "allowed":
        x[:, 1::3] = -np.inf
        if kind == "classes":  # a target that is not allowed has an infinite loss, here of 1/3
            given["target"] = np.where(given["target"] < 0, IGNORED, 0)
            arrays["target"] = given["target"].astype(np.int32)
        elif kind != "sparse":
            given["target"][:, 1::3] = 0
        else:
            given["target"][:] = np.where(given["target"] < 0, IGNORED, 0)
            arrays["target"] = np.ascontiguousarray(given["target"].T.astype(np.int32))
    if weighted:
        compute = compute_dtype(x)
        arrays["weight"] = given["weight"] = rng.uniform(0.5, 2, shape[1]).astype(compute)
        rows = rng.uniform(0.5, 2, shape[0]).astype(compute)
        arrays["row_weight"] = given["sample_weight"] = rows
    words = [f"{name} {value}" for name, value in options.items()]
    title = ", ".join([kind, f"{shape[0]} x {shape[1]}", *words, *["weights"] * weighted])
    expected = expected_of(x, given, options)
    arrays = {"logits": x, **arrays}
    return Case("cross_entropy", dtype, title, arrays, expected, kernel_options(options))


def special_rows(dtype: np.dtype[Any]) -> Iterator[Case]:
    for classes in (2, 10, 17, 64, 1041):
        x = special_logits(dtype, classes)
        unit = roundoff(compute_dtype(x), classes)
        for at in (0, classes - 1):
            target = np.full(len(x), at)
            losses, slope = ref.cross_entropy_with_grad(x, target, reduction="none")
            losses = overflown(losses, compute_dtype(x))
            expected = {
                "loss": (losses, 2 * unit * (1 + magnitude(losses))),
                "dlogits": (slope, 2 * unit + half_ulp(magnitude(slope), dtype)),
            }
            arrays = {"logits": x, "target": target.astype(np.int32)}
            title = f"special rows of {classes}, target {at}"
            yield Case("cross_entropy", dtype, title, arrays, expected)


def every_case() -> Iterator[Case]:
    rng = np.random.default_rng(1)
    for dtype in DTYPES:
        yield from options_and_targets(rng, dtype)
        yield from special_rows(dtype)
