"""Sizes around the vector widths, memory layouts, and the rounding granted to a row."""

import mmap
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

DTYPES = [np.float32, np.float64]
MAP_NORESERVE = 0x4000  # Linux: mmap has its name from Python 3.13 on

# Around 4, 8, 16 lanes and their multiples, the unrolled and the blocked loops.
CLASS_COUNTS = [1, 2, 3, 4, 5, 7, 8, 9, 10, 15, 16, 17, 21, 31, 32, 33, 34, 40, 41, 63, 64, 65, 100]
CLASS_COUNTS += [127, 128, 129, 255, 257, 1000, 1023, 1024, 1025, 1040, 1041, 2047, 2049, 5000]
ROW_COUNTS = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 129]
# (rows, classes): every row count with few classes, few rows with every class count, many blocks.
SHAPES = [(rows, classes) for rows in ROW_COUNTS for classes in (1, 2, 3, 10, 33, 41)]
SHAPES += [(rows, classes) for classes in CLASS_COUNTS for rows in (1, 5)]
SHAPES += [(4099, 10), (300, 1000), (3, 20011)]


def compute_dtype(x: NDArray[Any]) -> Any:
    """Half precision is computed in float32."""
    return np.dtype(np.float32) if x.dtype.itemsize == 2 else x.dtype


def roundoff(dtype: Any, classes: int = 1) -> float:
    """Relative error granted to a sum over `classes` terms of a few rounded operations each.

    8 eps: scale, subtraction, exp (2.5 ULP), reciprocal, product, and the reference's own error.
    sqrt(classes) / 2 eps: four sigmas of the random walk of a running sum in 4 lanes.
    """
    return (8 + 0.5 * classes**0.5) * float(np.finfo(dtype).eps)


def assert_within(actual: Any, expected: Any, bound: Any, dtype: Any = None) -> None:
    """|actual - expected| <= bound, element by element; NaN and infinities must agree exactly."""
    actual = np.asarray(actual)
    dtype = actual.dtype if dtype is None else dtype
    expected = np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    with np.errstate(over="ignore"):
        overflown = np.isinf(expected.astype(dtype)) & np.isfinite(expected)
    expected = np.where(overflown, np.copysign(np.inf, expected), expected)
    with np.errstate(invalid="ignore"):
        error = np.abs(actual - expected)
    same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    # Below the smallest normal number there is no relative accuracy left.
    wrong = ~same & ~(error <= np.asarray(bound) + np.finfo(dtype).tiny)
    if wrong.any():
        first = tuple(int(i[0]) for i in np.nonzero(np.atleast_1d(wrong)))
        at = first if actual.ndim else ()
        raise AssertionError(
            f"{wrong.sum()} of {wrong.size} outside the bound; at {at}: got {actual[at]!r}, "
            f"expected {expected[at]!r}, bound {np.broadcast_to(bound, wrong.shape)[at]!r}"
        )


def logits_for(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    return rng.normal(scale=3.0, size=shape).astype(dtype)


def away_from_kinks(scores: NDArray[Any]) -> NDArray[Any]:
    """Multiples of 1/8 plus a per-class shift: no rounding can decide on which side a loss lies."""
    return (np.round(scores * 8) / 8).astype(scores.dtype)


def unaligned(x: NDArray[Any]) -> NDArray[Any]:
    """The same values at an address that is one byte off."""
    buffer = np.zeros(x.nbytes + 1, np.uint8)
    y = np.frombuffer(buffer.data, x.dtype, x.size, offset=1).reshape(x.shape)
    y[...] = x
    return y


def surrounded(shape: list[int], dtype: Any) -> NDArray[Any]:
    """Memory whose every element would show if it were read or overwritten by mistake."""
    return np.full(shape, np.iinfo(dtype).max if dtype.kind in "iu" else np.nan, dtype)


def every_second(x: NDArray[Any]) -> NDArray[Any]:
    y = surrounded([2 * n for n in x.shape], x.dtype)[(slice(None, None, 2),) * x.ndim]
    y[...] = x
    return y


def backwards(x: NDArray[Any]) -> NDArray[Any]:
    flip = tuple(slice(None, None, -1) for _ in x.shape)
    return x[flip].copy()[flip]


def padded_rows(x: NDArray[Any]) -> NDArray[Any]:
    """Unit stride along the last axis, and a pitch that is larger than the row."""
    y = surrounded([*x.shape[:-1], x.shape[-1] + 3], x.dtype)[..., : x.shape[-1]]
    y[...] = x
    return y


def far_apart(x: NDArray[Any], axis: int) -> NDArray[Any]:
    """Neighbours along an axis 4 GiB apart, in memory that is not there until it is written."""
    step, lines = (1 << 32) + 64, np.moveaxis(x, axis, 0)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
    memory = np.frombuffer(mmap.mmap(-1, max(len(lines), 1) * step, flags=flags), x.dtype)
    inner = np.empty(lines.shape[1:], x.dtype).strides
    y = np.moveaxis(np.lib.stride_tricks.as_strided(memory, lines.shape, (step, *inner)), 0, axis)
    y[...] = x
    return y


def read_only(x: NDArray[Any]) -> NDArray[Any]:
    y = x.copy()
    y.flags.writeable = False
    return y


LAYOUTS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "contiguous": np.ascontiguousarray,
    "fortran": np.asfortranarray,
    "every_second": every_second,
    "backwards": backwards,
    "padded_rows": padded_rows,
    "unaligned": unaligned,
    "far_rows": lambda x: far_apart(x, 0) if x.ndim else x.copy(),
    "far_classes": lambda x: far_apart(x, -1) if x.ndim else x.copy(),
}
