"""Which axes are the classes, which classes take part: arguments as jax.nn has them."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import softstep._core as _core
from softstep._integers import integer
from softstep.jax._ffi import Array, Axis


def as_array(x: Any, name: str) -> Array:
    """Return an array; JAX would take what NumPy's masks leave out, and no other order of bytes."""
    if not isinstance(x, jax.Array):
        _core.refuse_masked(x, name)
    if isinstance(x, np.ndarray) and not x.dtype.isnative:
        x = x.astype(x.dtype.newbyteorder("="))
    return jnp.asarray(x)


def as_target(x: Any) -> Array:
    """Return class labels of an integer dtype that the kernels know, or probabilities."""
    target = as_array(x, "target")
    if is_dense(target):
        return target
    if target.dtype == jnp.bool_:
        return target.astype(jnp.uint8)
    if not jnp.issubdtype(target.dtype, jnp.integer):
        raise TypeError(
            f"target: expected integers (classes) or floats (probabilities), got {target.dtype}"
        )
    limits = jnp.iinfo(target.dtype)
    if limits.bits < 8:
        return target.astype(jnp.int8 if limits.min < 0 else jnp.uint8)
    return target


def is_dense(target: Array) -> bool:
    """Tell probabilities from class labels."""
    return bool(jnp.issubdtype(target.dtype, jnp.floating))


def as_float(x: Any, name: str) -> Array:
    """Return an array of a dtype that the kernels know; integers become JAX's default float."""
    array = as_array(x, name)
    if jnp.issubdtype(array.dtype, jnp.integer) or array.dtype == jnp.bool_:
        array = array.astype(jnp.result_type(float))
    if array.dtype not in (jnp.float32, jnp.float64, jnp.bfloat16, jnp.float16):
        raise TypeError(
            f"{name}: expected float32, float64, bfloat16 or float16, got {array.dtype}"
        )
    return array


def normalised(axis: Axis, ndim: int) -> tuple[int, ...]:
    """Return the axes, each in [0, ndim)."""
    axes = tuple(range(ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    numbers = tuple(integer(one, "axis") for one in axes)
    for one in numbers:
        if not -ndim <= one < ndim:
            raise ValueError(f"axis: expected dimensions of an array with {ndim}, got {one}")
    positive = tuple(one % ndim for one in numbers)
    if len(set(positive)) != len(positive):
        raise ValueError(f"axis: expected every dimension once, got {axis}")
    return positive


def one_axis(array: Array, axes: tuple[int, ...]) -> tuple[Array, int]:
    """Return the array with its class axes joined, and that axis, counted from the end.

    One axis stays where it is: the kernels walk any.
    """
    if len(axes) == 1:
        return array, axes[0] - array.ndim
    batch = tuple(d for d in range(array.ndim) if d not in axes)
    shape = tuple(array.shape[d] for d in batch)
    classes = math.prod(array.shape[d] for d in axes)
    return array.transpose(batch + axes).reshape((*shape, classes)), -1


def separate_axes(shape: tuple[int, ...], axes: tuple[int, ...]) -> Callable[[Array], Array]:
    """Return the inverse of `one_axis` for arrays of its shape."""
    if len(axes) == 1:
        return lambda array: array
    order = (*(d for d in range(len(shape)) if d not in axes), *axes)
    turned = [shape[d] for d in order]
    return lambda array: array.reshape(turned).transpose(np.argsort(order))


def as_mask(where: Any, shape: tuple[int, ...]) -> Array:
    """Return `where` as booleans of the shape."""
    mask = as_array(where, "where")
    if mask.dtype != jnp.bool_:
        raise TypeError(f"where: expected booleans, got {mask.dtype}")
    try:
        return jnp.broadcast_to(mask, shape)
    except ValueError:
        raise ValueError(
            f"where: expected a shape that broadcasts to {shape}, got {mask.shape}"
        ) from None


def fill_empty(result: Array, mask: Array | None, axis: int, value: float) -> Array:
    """Put `value` where a mask leaves no class of a row."""
    if mask is None:
        return result
    some = mask.any(axis=axis, keepdims=result.ndim == mask.ndim)
    return jnp.where(some, result, jnp.asarray(value, result.dtype))
