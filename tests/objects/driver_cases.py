"""The driver's cases of the softmax family, the hinge over classes and the transposition."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests import reference as ref
from tests.objects.driver_case import DTYPES, Case, overflown
from tests.support import bounds
from tests.support.cases import away_from_kinks, compute_dtype, logits_for, roundoff
from tests.support.cross_entropy_check import half_ulp
from tests.support.special_rows import SPECIAL_ROWS

# Around the lanes (4, 8, 16), four of them at once, and the blocks of 1024 of long rows.
SHAPES = [(rows, 10) for rows in (1, 3, 4, 5, 8, 9, 15, 16, 17, 31, 33, 65)]
SHAPES += [(5, classes) for classes in (1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 34, 63, 65)]
SHAPES += [(2, classes) for classes in (127, 128, 129, 1000, 1023, 1025, 1040, 2047, 2049)]
FORWARD = ["softmax", "log_softmax", "logsumexp", "entropy"]


def special_logits(dtype: np.dtype[Any], classes: int) -> NDArray[Any]:
    """Rows with infinities, NaN and huge numbers at every position in turn, and ordinary ones."""
    largest = float(np.finfo(np.float32).max)
    unit = 1.0 if dtype.name == "bfloat16" else float(np.finfo(dtype).max) / largest
    positions = [0, classes // 2, classes - 1] if classes < 100 else [classes - 1]
    rows = [np.linspace(2, -2, classes) % 1.3]
    for number, (fill, value) in enumerate(SPECIAL_ROWS.values()):
        for at in positions:
            row = np.roll(rows[0], number)
            if fill is not None:
                row[:] = fill * unit if abs(fill) == 3e38 else fill
            row[at] = value * unit if abs(value) == 3e38 else value
            rows.append(row)
    return np.array([*rows, rows[0]]).astype(dtype)


def magnitude(expected: Any) -> Any:
    return np.where(np.isfinite(expected), np.abs(expected), 0)


def softmax(rng: np.random.Generator, dtype: np.dtype[Any]) -> Iterator[Case]:
    for number, shape in enumerate(SHAPES):
        temperature = (1.0, 0.5, 3.0)[number % 3]
        x = logits_for(rng, shape, dtype)
        wide = x.astype(compute_dtype(x))
        expected = {}
        for name in FORWARD:
            values = getattr(ref, name)(x, temperature=temperature)
            bound = bounds.softmax_family(name, wide, temperature=temperature)
            expected[name] = (overflown(values, dtype), bound + half_ulp(values, dtype))
        title = f"{shape[0]} x {shape[1]}, temperature {temperature:g}"
        yield Case("softmax", dtype, title, {"x": x}, expected, {"scale": 1 / temperature})
    for classes in (2, 10, 17, 64, 1041):
        x = special_logits(dtype, classes)
        unit = roundoff(compute_dtype(x), classes)
        expected = {}
        for name in FORWARD:
            values = overflown(getattr(ref, name)(x), dtype)
            size = magnitude(values)
            expected[name] = (values, unit * (2 + size) + half_ulp(size, dtype))
        yield Case("softmax", dtype, f"special rows of {classes}", {"x": x}, expected)


def softmax_backward(rng: np.random.Generator, dtype: np.dtype[Any]) -> Iterator[Case]:
    for number, shape in enumerate(SHAPES):
        temperature = (1.0, 0.5)[number % 2]
        dy = rng.normal(size=shape).astype(dtype)
        for name in ("softmax", "log_softmax"):
            y = getattr(ref, name)(logits_for(rng, shape, dtype)).astype(dtype)
            back = f"{name}_backward"
            values = getattr(ref, back)(dy, y, temperature=temperature)
            compute = compute_dtype(y)
            bound = bounds.softmax_backward(
                back, dy.astype(compute), y.astype(compute), temperature=temperature
            )
            if name == "softmax" and dtype.itemsize == 2:
                bound = bound + bounds.rounded_probabilities(dy, y, temperature=temperature)
            expected = {back: (values, bound + half_ulp(values, dtype))}
            title = f"{name}, {shape[0]} x {shape[1]}, temperature {temperature:g}"
            options = {"scale": 1 / temperature}
            yield Case("softmax_backward", dtype, title, {"y": y, "dy": dy}, expected, options)


def hinge(rng: np.random.Generator, dtype: np.dtype[Any]) -> Iterator[Case]:
    for shape in SHAPES:
        scores = away_from_kinks(logits_for(rng, shape, dtype))
        target = rng.integers(0, shape[1], shape[0]).astype(np.int32)
        loss, slope = ref.hinge_with_grad(scores, target, margin=0.75, reduction="none")
        bound = roundoff(dtype) * (0.75 + np.abs(scores).max(axis=1))
        expected = {
            "loss": (loss, bound),
            "dscores": (0.5 * slope, roundoff(dtype) * np.abs(slope)),
        }
        options = {"margin": 0.75, "upstream": 0.5}
        arrays = {"scores": scores, "target": target}
        yield Case("hinge", dtype, f"{shape[0]} x {shape[1]}", arrays, expected, options)


def transpose(rng: np.random.Generator, dtype: np.dtype[Any]) -> Iterator[Case]:
    sizes = (1, 3, 4, 5, 8, 9, 16, 17, 33)
    for rows in sizes:
        for cols in sizes:
            x = rng.normal(size=(rows, cols)).astype(dtype)
            expected = {"transposed": (x.T.astype(np.float64), 0)}
            yield Case("transpose", dtype, f"{rows} x {cols}", {"x": x}, expected)


def every_case() -> Iterator[Case]:
    rng = np.random.default_rng(0)
    for dtype in DTYPES:
        for family in (softmax, softmax_backward, transpose):
            yield from family(rng, dtype)
    for dtype in DTYPES[:2]:
        yield from hinge(rng, dtype)
