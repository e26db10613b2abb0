"""Arguments of the linear head: arrays checked before anything is computed or written."""

from __future__ import annotations

from collections.abc import Iterable
from operator import index
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

import softstep._core as _core
from softstep._typing import FloatArray

GRADIENTS = ("hidden", "weight", "bias")


class LinearGradients(NamedTuple):
    """Gradients of the linear head; None where none was asked for.

    Examples
    --------
    >>> import softstep as ss
    >>> loss, gradients = ss.linear_cross_entropy_with_grad([[1.0]], [[0.0], [0.0]], [1])
    >>> gradients.dhidden
    array([[0.]])
    >>> gradients.dbias is None
    True
    """

    dhidden: FloatArray | None
    dweight: FloatArray | None
    dbias: FloatArray | None


class Head(NamedTuple):
    """hidden (..., D), weight (V, D) and bias (V,) or None, and what they are computed in."""

    hidden: FloatArray
    weight: FloatArray
    bias: FloatArray | None
    dtype: np.dtype[Any]


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Whether the dtype is ml_dtypes' bfloat16."""
    return dtype.itemsize == 2 and dtype.name == "bfloat16"  # a name is slow to make


def is_half(dtype: np.dtype[Any]) -> bool:
    """Whether the dtype is float16 or ml_dtypes' bfloat16."""
    return dtype == np.float16 or is_bfloat16(dtype)


def check_head(hidden: ArrayLike, weight: ArrayLike, bias: ArrayLike | None) -> Head:
    """Check shapes and dtypes of the operands of the product."""
    rows, matrix = _float_array(hidden, "hidden"), _float_array(weight, "weight")
    vector = None if bias is None else _float_array(bias, "bias")
    if rows.ndim < 1:
        raise ValueError("hidden: expected shape (..., D), got a scalar")
    if matrix.ndim != 2 or matrix.shape[1] != rows.shape[-1]:
        raise ValueError(
            f"weight: expected shape (V, {rows.shape[-1]}) for hidden of shape {rows.shape}, "
            f"got {matrix.shape}"
        )
    if vector is not None and vector.shape != matrix.shape[:1]:
        raise ValueError(f"bias: expected shape {matrix.shape[:1]}, got {vector.shape}")
    dtype = _computed_in(rows)
    for array, name in ((matrix, "weight"), (vector, "bias")):
        if array is not None and _computed_in(array) != dtype:
            expected = "float64" if dtype == np.float64 else "float32, float16 or bfloat16"
            raise TypeError(f"{name}: expected {expected} as hidden's, got {array.dtype}")
    if vector is not None:
        vector = np.ascontiguousarray(vector, dtype)
    return Head(rows, matrix, vector, dtype)


def wanted_gradients(grads: str | Iterable[str], with_bias: bool) -> frozenset[str]:
    """Check the names of the gradients; that of a bias is left out where there is none."""
    names = _names(grads, "grads")
    if "bias" in names and not with_bias:
        names -= {"bias"}
    return names


def check_buffers(
    buffers: dict[str, Any], wanted: frozenset[str], accumulate: bool | Iterable[str], head: Head
) -> tuple[dict[str, FloatArray], frozenset[str]]:
    """Return the caller's buffers by name, and which of them are added to."""
    given: dict[str, FloatArray] = {}
    like = {"hidden": head.hidden, "weight": head.weight, "bias": head.bias}
    for name, buffer in buffers.items():
        if buffer is None:
            continue
        if name not in wanted:
            reason = "there is no bias" if like[name] is None else f"grads has no {name!r}"
            raise ValueError(f"d{name}: expected None, since {reason}")
        operand = like[name]
        assert operand is not None
        dtypes = {head.hidden.dtype, head.dtype} if name == "hidden" else {head.dtype}
        _check_buffer(buffer, f"d{name}", operand.shape, dtypes)
        others = [(array, which) for which, array in like.items() if array is not None]
        others += [(array, f"d{which}") for which, array in given.items()]
        for array, which in others:
            if np.may_share_memory(buffer, array):
                raise ValueError(f"d{name}: expected memory of its own, it overlaps {which}")
        given[name] = buffer
    if isinstance(accumulate, (bool, np.bool_)):
        return given, frozenset(given) if accumulate else frozenset()
    added = _names(accumulate, "accumulate")
    for name in sorted(added - set(given)):
        raise ValueError(f"accumulate: {name!r} needs a buffer d{name} to add to")
    return given, added


def check_workspace(workspace: Any) -> int | None:
    """Return the bytes of scratch, None for the default."""
    if workspace is None:
        return None
    try:
        size = index(workspace)
    except TypeError:
        raise TypeError(f"workspace: expected bytes as an int or None, got {workspace!r}") from None
    if size <= 0:
        raise ValueError(f"workspace: expected a number of bytes above 0, got {size}")
    return size


def check_upstream(
    upstream: ArrayLike | None, reduction: str, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> FloatArray | None:
    """Return the factor of each row's gradient, flat."""
    if upstream is None:
        return None
    factors = _core.as_array(upstream, "upstream")
    if factors.dtype.kind not in "iubf" and not is_half(factors.dtype):
        raise TypeError(f"upstream: expected real numbers, got {factors.dtype}")
    expected = shape if reduction == "none" else ()
    if factors.shape != expected:
        raise ValueError(f"upstream: expected shape {expected}, got {factors.shape}")
    return np.array(np.broadcast_to(factors, shape), dtype).reshape(-1)


def _names(names: str | Iterable[str], argument: str) -> frozenset[str]:
    try:
        found = frozenset((names,) if isinstance(names, str) else names)
    except TypeError:
        raise TypeError(f"{argument}: expected names, got {type(names).__name__}") from None
    if not found <= set(GRADIENTS):
        unknown = next(name for name in found if name not in GRADIENTS)
        raise ValueError(f"{argument}: expected names among {GRADIENTS}, got {unknown!r}")
    return found


def _float_array(values: ArrayLike, name: str) -> FloatArray:
    array = _core.as_array(values, name)
    if array.dtype.kind in "iub":
        array = array.astype(np.float64)
    native = array.dtype.newbyteorder("=")
    if native not in (np.float32, np.float64) and not is_half(native):
        raise TypeError(
            f"{name}: expected float32, float64, float16 or bfloat16, got {array.dtype}"
        )
    if native != array.dtype or not array.flags.aligned:
        array = array.astype(native)
    return array


def _computed_in(array: FloatArray) -> np.dtype[Any]:
    return np.dtype(np.float64 if array.dtype == np.float64 else np.float32)


def _check_buffer(buffer: Any, name: str, shape: tuple[int, ...], dtypes: set[Any]) -> None:
    if not isinstance(buffer, np.ndarray):
        raise TypeError(f"{name}: expected a NumPy array, got {type(buffer).__name__}")
    if buffer.dtype not in dtypes:
        expected = " or ".join(sorted(str(dtype) for dtype in dtypes))
        raise TypeError(f"{name}: expected {expected}, got {buffer.dtype}")
    if buffer.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {buffer.shape}")
    if not buffer.flags.writeable:
        raise ValueError(f"{name}: expected a writeable array, got a read-only one")
    if not (buffer.flags.c_contiguous and buffer.flags.aligned):
        raise ValueError(f"{name}: expected a C-contiguous, aligned array")
