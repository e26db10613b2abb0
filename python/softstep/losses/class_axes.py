"""NumPy's conventions around the softmax kernels: several axes as one, masks, keepdims, out."""

import math
from collections.abc import Callable
from operator import index
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

import softstep._core as _core
from softstep._foreign import as_output
from softstep._typing import FloatArray

Axis: TypeAlias = int | tuple[int, ...] | None
Kernel: TypeAlias = Callable[..., FloatArray]


def map_classes(
    kernel: Kernel,
    x: ArrayLike,
    axis: Axis,
    temperature: float,
    where: ArrayLike | None,
    out: FloatArray | None,
) -> FloatArray:
    """One result for each class."""
    array = _core.as_array(x, "x")
    if isinstance(axis, int) and where is None and array.ndim > 0:
        return kernel(array, axis, temperature, out, None)
    mask = _mask(where, array.shape)
    out = _checked_out(out, array.shape, array)
    flat, order = _classes_last(array, axis)
    result = kernel(flat, -1, temperature, None, _classes_last(mask, axis)[0])
    return _delivered(_classes_back(result, array.shape, order), out)


def map_gradient(
    kernel: Kernel,
    dy: ArrayLike,
    y: ArrayLike,
    axis: Axis,
    temperature: float,
    where: ArrayLike | None,
    out: FloatArray | None,
) -> FloatArray:
    """One gradient for each class; 0 where `where` is false."""
    forward, upstream = _core.as_array(y, "y"), _core.as_array(dy, "dy")
    if isinstance(axis, int) and where is None and forward.ndim > 0:
        return kernel(upstream, forward, axis, temperature, out, None)
    if upstream.shape != forward.shape:
        raise ValueError(f"dy: expected shape {forward.shape}, got {upstream.shape}")
    mask = _mask(where, forward.shape)
    out = _checked_out(out, forward.shape, forward)
    flat, order = _classes_last(forward, axis)
    flat_mask = _classes_last(mask, axis)[0]
    result = kernel(_classes_last(upstream, axis)[0], flat, -1, temperature, None, flat_mask)
    return _delivered(_classes_back(result, forward.shape, order), out)


def reduce_classes(
    kernel: Kernel,
    x: ArrayLike,
    axis: Axis,
    temperature: float,
    where: ArrayLike | None,
    masked: float,
    keepdims: bool,
    out: FloatArray | None,
) -> Any:
    """One result for each row; `masked` for rows that `where` leaves no class."""
    array = _core.as_array(x, "x")
    if isinstance(axis, int) and where is None and array.ndim > 0:
        result = kernel(array, axis, temperature, None)
    else:
        mask = _classes_last(_mask(where, array.shape), axis)[0]
        result = kernel(_classes_last(array, axis)[0], -1, temperature, mask)
        if mask is not None:
            result[~mask.any(axis=-1)] = masked
    if keepdims:
        result = np.expand_dims(result, _normalised(axis, array.ndim))
    if out is not None:
        out = _checked_out(out, result.shape, result)
    return _delivered(result, out)


def _normalised(axis: Axis, ndim: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(ndim))
    try:
        axes = tuple(index(one) for one in (axis if isinstance(axis, tuple) else (axis,)))
    except TypeError:
        raise TypeError(f"axis: expected an int, a tuple of ints or None, got {axis!r}") from None
    if ndim == 0:  # a scalar is one class
        axes = tuple(one for one in axes if one not in (-1, 0))
    for one in axes:
        if not -ndim <= one < ndim:
            raise ValueError(f"axis: expected dimensions of an array with {ndim}, got {one}")
    positive = tuple(one % ndim for one in axes)
    if len(set(positive)) != len(positive):
        raise ValueError(f"axis: expected every dimension once, got {axis}")
    return positive


def _classes_last(array: Any, axis: Axis) -> tuple[Any, tuple[int, ...]]:
    """Return the array with its class axes joined into the last, and the order that led there."""
    if array is None:
        return None, ()
    axes = _normalised(axis, array.ndim)
    batch = tuple(d for d in range(array.ndim) if d not in axes)
    order = (*batch, *axes)
    shape = tuple(array.shape[d] for d in batch)
    classes = math.prod(array.shape[d] for d in axes)
    return array.transpose(order).reshape((*shape, classes)), order


def _classes_back(result: FloatArray, shape: tuple[int, ...], order: tuple[int, ...]) -> FloatArray:
    turned = result.reshape([shape[d] for d in order])
    return turned.transpose(np.argsort(order)) if order else turned


def _mask(where: ArrayLike | None, shape: tuple[int, ...]) -> Any:
    if where is None:
        return None
    mask = _core.as_array(where, "where")
    if mask.dtype != np.bool_:
        raise TypeError(f"where: expected a boolean array, got {mask.dtype}")
    try:
        return np.broadcast_to(mask, shape)
    except ValueError:
        raise ValueError(
            f"where: expected a shape that broadcasts to {shape}, got {mask.shape}"
        ) from None


def _checked_out(out: Any, shape: tuple[int, ...], like: FloatArray) -> Any:
    if out is None:
        return None
    if not isinstance(out, np.ndarray):
        if not (hasattr(out, "__dlpack__") or hasattr(out, "__array_interface__")):
            raise TypeError(f"out: expected a NumPy array, got {type(out).__name__}")
        out = as_output(out, "out")
    if out.shape != shape:
        raise ValueError(f"out: expected shape {shape}, got {out.shape}")
    dtype = np.dtype(np.float64) if like.dtype.kind in "iub" else like.dtype
    if out.dtype != dtype:
        raise TypeError(f"out: expected {dtype}, got {out.dtype}")
    if not out.flags.writeable:
        raise ValueError("out: expected a writeable array, got a read-only one")
    return out


def _delivered(result: FloatArray, out: FloatArray | None) -> FloatArray:
    if out is None:
        scalar_or_array: FloatArray = result[()]  # NumPy's scalar where there are no dimensions
        return scalar_or_array
    np.copyto(out, result)
    return out
