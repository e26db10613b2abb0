"""The specification in code of the softmax family: float64 NumPy, written to be read."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Axis = int | tuple[int, ...] | None

quiet = np.errstate(all="ignore")  # inf - inf is a NaN on purpose


def classes_last(x: ArrayLike, axis: int) -> Array:
    # Contiguous, because NumPy sums in pairs along adjacent elements only.
    return np.ascontiguousarray(np.moveaxis(np.asarray(x, np.float64), axis, -1))


@quiet
def _shifted(x: Array, temperature: float) -> tuple[Array, Array, Array]:
    """Return u = (x - max) / T, and logsumexp(x / T) in two parts, max / T and a log1p.

    The maximum goes before the division: two rounded quotients would leave a rounding of their own
    size in a small difference. The log1p is that of what the other classes add: small ones survive.
    """
    top = x.max(axis=-1, keepdims=True, initial=-np.inf)
    u = (x - top) / temperature
    ascending = np.sort(np.exp(u), axis=-1)
    rest = np.log1p(ascending[..., :-1].sum(axis=-1, keepdims=True))
    return u, top / temperature, np.where(np.isinf(top), 0.0, rest)


@quiet
def log_probabilities(x: Array, temperature: float = 1.0) -> tuple[Array, Array]:
    u, top, rest = _shifted(x, temperature)
    return u - rest, (top + rest)[..., 0]


@quiet
def probabilities(x: Array, temperature: float = 1.0) -> Array:
    e = np.exp(_shifted(x, temperature)[0])
    return e / e.sum(axis=-1, keepdims=True)


@quiet
def entropies(x: Array, temperature: float = 1.0) -> Array:
    """-sum p log p = rest - sum p u, a sum of terms >= 0; 0 log 0 = 0."""
    u, _, rest = _shifted(x, temperature)
    p = probabilities(x, temperature)
    return np.asarray(rest[..., 0] - np.where(p == 0, 0.0, p * u).sum(axis=-1))


def softmax(x: ArrayLike, *, axis: int = -1, temperature: float = 1.0) -> Array:
    return np.moveaxis(probabilities(classes_last(x, axis), temperature), -1, axis)


def log_softmax(x: ArrayLike, *, axis: int = -1, temperature: float = 1.0) -> Array:
    return np.moveaxis(log_probabilities(classes_last(x, axis), temperature)[0], -1, axis)


def logsumexp(
    x: ArrayLike, *, axis: int = -1, temperature: float = 1.0, keepdims: bool = False
) -> Array:
    _, lse = log_probabilities(classes_last(x, axis), temperature)
    return np.expand_dims(lse, axis) if keepdims else lse


def entropy(
    logits: ArrayLike, *, axis: int = -1, temperature: float = 1.0, keepdims: bool = False
) -> Array:
    h = entropies(classes_last(logits, axis), temperature)
    return np.expand_dims(h, axis) if keepdims else h


@quiet
def softmax_backward(
    dy: ArrayLike, y: ArrayLike, *, axis: int = -1, temperature: float = 1.0
) -> Array:
    dy, y = np.asarray(dy, np.float64), np.asarray(y, np.float64)
    return y * (dy - (dy * y).sum(axis=axis, keepdims=True)) / temperature


@quiet
def log_softmax_backward(
    dy: ArrayLike, y: ArrayLike, *, axis: int = -1, temperature: float = 1.0
) -> Array:
    dy, y = np.asarray(dy, np.float64), np.asarray(y, np.float64)
    return (dy - np.exp(y) * dy.sum(axis=axis, keepdims=True)) / temperature


def masked(name: str, x: ArrayLike, axis: Axis, where: Any, **options: Any) -> Array:
    """A forward function over several axes and where a mask allows, row by row."""
    x = np.asarray(x, np.float64)
    where = np.broadcast_to(where, x.shape)
    ndim = max(x.ndim, 1)
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    batch = [d for d in range(x.ndim) if d not in {one % ndim for one in axes}]
    by_class = name in ("softmax", "log_softmax")
    nothing = {"softmax": 0.0, "log_softmax": -np.inf, "logsumexp": -np.inf, "entropy": 0.0}[name]
    # Of masked classes; one result a row is of the shape without the axes.
    result = np.full(x.shape if by_class else [x.shape[d] for d in batch], nothing)
    for index in np.ndindex(*(x.shape[d] for d in batch)):
        row: Any = [slice(None)] * x.ndim
        for d, i in zip(batch, index, strict=True):
            row[d] = i
        row = tuple(row)
        allowed = where[row]
        if allowed.any():
            value = globals()[name](x[row][allowed], **options)
            if by_class:
                np.asarray(result[row])[allowed] = value
            else:
                result[index] = value
    return result
