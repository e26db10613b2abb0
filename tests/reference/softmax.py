"""The specification in code of the softmax family: float64 NumPy, written to be read."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Axis = int | tuple[int, ...] | None

quiet = np.errstate(all="ignore")  # inf - inf is a NaN on purpose


def classes_last(x: ArrayLike, axis: int, temperature: float = 1.0) -> Array:
    # Contiguous, because NumPy sums in pairs along adjacent elements only.
    return np.ascontiguousarray(np.moveaxis(np.asarray(x, np.float64), axis, -1)) / temperature


@quiet
def _top_and_rest(z: Array) -> tuple[Array, Array]:
    """Split logsumexp in max + log1p(what the other classes add): small remainders survive."""
    top = z.max(axis=-1, keepdims=True, initial=-np.inf)
    ascending = np.sort(np.exp(z - top), axis=-1)
    rest = np.log1p(ascending[..., :-1].sum(axis=-1, keepdims=True))
    return top, np.where(np.isinf(top), 0.0, rest)


@quiet
def log_probabilities(z: Array) -> tuple[Array, Array]:
    top, rest = _top_and_rest(z)
    return (z - top) - rest, (top + rest)[..., 0]


@quiet
def probabilities(z: Array) -> Array:
    top, _ = _top_and_rest(z)
    e = np.exp(z - top)
    return e / e.sum(axis=-1, keepdims=True)


@quiet
def entropies(z: Array) -> Array:
    """-sum p log p = rest + sum p (max - z), a sum of terms >= 0; 0 log 0 = 0."""
    top, rest = _top_and_rest(z)
    p = probabilities(z)
    return np.asarray(rest[..., 0] + np.where(p == 0, 0.0, p * (top - z)).sum(axis=-1))


def softmax(x: ArrayLike, *, axis: int = -1, temperature: float = 1.0) -> Array:
    return np.moveaxis(probabilities(classes_last(x, axis, temperature)), -1, axis)


def log_softmax(x: ArrayLike, *, axis: int = -1, temperature: float = 1.0) -> Array:
    return np.moveaxis(log_probabilities(classes_last(x, axis, temperature))[0], -1, axis)


def logsumexp(
    x: ArrayLike, *, axis: int = -1, temperature: float = 1.0, keepdims: bool = False
) -> Array:
    _, lse = log_probabilities(classes_last(x, axis, temperature))
    return np.expand_dims(lse, axis) if keepdims else lse


def entropy(
    logits: ArrayLike, *, axis: int = -1, temperature: float = 1.0, keepdims: bool = False
) -> Array:
    h = entropies(classes_last(logits, axis, temperature))
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
