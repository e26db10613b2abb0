"""The specification in code: each public function of softstep in float64 NumPy, written to be read.

Nothing here is fast or in place. A function takes the options of its namesake, except `out`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Loss = Any  # a float, or an array for reduction="none"

quiet = np.errstate(all="ignore")  # inf - inf is a NaN on purpose


def _classes_last(x: ArrayLike, axis: int, temperature: float = 1.0) -> Array:
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
def _log_probabilities(z: Array) -> tuple[Array, Array]:
    top, rest = _top_and_rest(z)
    return (z - top) - rest, (top + rest)[..., 0]


@quiet
def _probabilities(z: Array) -> Array:
    top, _ = _top_and_rest(z)
    e = np.exp(z - top)
    return e / e.sum(axis=-1, keepdims=True)


def softmax(x: ArrayLike, *, axis: int = -1, temperature: float = 1.0) -> Array:
    return np.moveaxis(_probabilities(_classes_last(x, axis, temperature)), -1, axis)


def log_softmax(x: ArrayLike, *, axis: int = -1, temperature: float = 1.0) -> Array:
    return np.moveaxis(_log_probabilities(_classes_last(x, axis, temperature))[0], -1, axis)


def logsumexp(
    x: ArrayLike, *, axis: int = -1, temperature: float = 1.0, keepdims: bool = False
) -> Array:
    _, lse = _log_probabilities(_classes_last(x, axis, temperature))
    return np.expand_dims(lse, axis) if keepdims else lse


@quiet
def entropy(
    logits: ArrayLike, *, axis: int = -1, temperature: float = 1.0, keepdims: bool = False
) -> Array:
    """-sum p log p = rest + sum p (max - z), a sum of terms >= 0; 0 log 0 = 0."""
    z = _classes_last(logits, axis, temperature)
    top, rest = _top_and_rest(z)
    p = _probabilities(z)
    h = rest[..., 0] + np.where(p == 0, 0.0, p * (top - z)).sum(axis=-1)
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


def _one_hot(target: NDArray[Any], kept: NDArray[np.bool_], classes: int) -> Array:
    outside = kept & ((target < 0) | (target >= classes))
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise IndexError(f"target: row {row} holds {target.flat[row]}, not in [0, {classes})")
    return (np.where(kept, target, 0)[..., None] == np.arange(classes)).astype(np.float64)


def _mean_over(denominator: float, empty: str) -> tuple[float, float]:
    """Factor of the gradient, and the loss of a mean over nothing."""
    if denominator != 0:
        return 1.0 / denominator, np.nan
    if empty == "raise":
        raise ValueError("mean over nothing: no row has a weight")
    return 0.0, {"nan": np.nan, "zero": 0.0}[empty]


@quiet
def cross_entropy_with_grad(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    axis: int = -1,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    temperature: float = 1.0,
    z_loss: float = 0.0,
    reduction: str = "mean",
    denominator: float | None = None,
    empty: str = "nan",
) -> tuple[Loss, Array]:
    """Both kinds of target are a row q of masses: loss = (sum q) lse - sum q z + z_loss lse^2."""
    z, target = _classes_last(logits, axis, temperature), np.asarray(target)
    rows, classes = z.shape[:-1], z.shape[-1]
    w = np.ones(classes) if weight is None else np.asarray(weight, np.float64)
    s = np.ones(rows) if sample_weight is None else np.asarray(sample_weight, np.float64)
    kept = s != 0
    if np.issubdtype(target.dtype, np.floating):
        target_mass, share = _classes_last(target, axis), s
    else:
        kept &= target != ignore_index
        target_mass = _one_hot(target, target != ignore_index, classes)
        share = np.where(kept, s * (target_mass * w).sum(axis=-1), 0.0)
    mean_over = share.sum() if denominator is None else denominator
    if reduction == "mean" and denominator is None and mean_over:
        z_loss *= mean_over / s[kept].sum()  # its mean is over rows, without class weights
    q = w * ((1 - label_smoothing) * target_mass + label_smoothing / max(classes, 1))

    logp, lse = _log_probabilities(z)
    nll = -np.where(q == 0, 0.0, q * logp).sum(axis=-1)
    loss = np.where(kept, s * (nll + (z_loss * lse**2 if z_loss else 0.0)), 0.0)

    # (sum q) p - q, with p - 1 = expm1(log p): no cancellation where p is nearly 1.
    p = _probabilities(z)
    dz = (q.sum(axis=-1, keepdims=True) - q) * p + q * np.expm1(logp)
    if z_loss:
        dz += 2 * z_loss * lse[..., None] * p
    dz = np.where(kept[..., None], s[..., None] * dz / temperature, 0.0)

    if reduction == "none":
        return (loss if loss.ndim else float(loss)), np.moveaxis(dz, -1, axis)
    total = loss.sum()
    if reduction == "mean":
        factor, nothing = _mean_over(mean_over, empty)
        dz = dz * factor if factor else np.zeros_like(dz)
        total = total * factor if factor else nothing
    return float(total), np.moveaxis(dz, -1, axis)


def cross_entropy(logits: ArrayLike, target: ArrayLike, **options: Any) -> Loss:
    return cross_entropy_with_grad(logits, target, **options)[0]


def _reduce(loss: Array, gradient: Array, reduction: str) -> tuple[Loss, Array]:
    if reduction == "none":
        return (loss if loss.ndim else float(loss)), gradient
    if reduction == "sum":
        return float(loss.sum()), gradient
    return (float(loss.mean()) if loss.size else np.nan), gradient / max(loss.size, 1)


@quiet
def squared_error_with_grad(
    predictions: ArrayLike, target: ArrayLike, *, reduction: str = "mean"
) -> tuple[Loss, Array]:
    difference = np.asarray(predictions, np.float64) - np.asarray(target, np.float64)
    return _reduce(difference**2, 2 * difference, reduction)


def squared_error(predictions: ArrayLike, target: ArrayLike, **options: Any) -> Loss:
    return squared_error_with_grad(predictions, target, **options)[0]


@quiet
def hinge_with_grad(
    scores: ArrayLike,
    target: ArrayLike,
    *,
    axis: int = -1,
    margin: float = 1.0,
    reduction: str = "mean",
) -> tuple[Loss, Array]:
    s, target = np.asarray(scores, np.float64), np.asarray(target)
    if target.shape == s.shape:
        loss = np.maximum(0.0, margin - target * s)
        return _reduce(loss, np.where(loss > 0, -target.astype(np.float64), 0.0), reduction)
    s = np.moveaxis(s, axis, -1)
    own = _one_hot(target, np.ones(target.shape, bool), s.shape[-1])
    rivals = np.where(own == 1, -np.inf, s)
    score = np.where(own == 1, s, 0.0).sum(axis=-1)
    loss = np.maximum(0.0, margin + rivals.max(axis=-1) - score)
    first_rival = rivals.argmax(axis=-1)[..., None] == np.arange(s.shape[-1])
    gradient = np.where(loss[..., None] > 0, first_rival - own, 0.0)
    return _reduce(loss, np.moveaxis(gradient, -1, axis), reduction)


def hinge(scores: ArrayLike, target: ArrayLike, **options: Any) -> Loss:
    return hinge_with_grad(scores, target, **options)[0]


def l2_penalty(params: NDArray[Any] | Sequence[NDArray[Any]], lam: float) -> float:
    arrays = [params] if isinstance(params, np.ndarray) else params
    return lam * sum(float((p.astype(np.float64) ** 2).sum()) for p in arrays)


class SGD:
    """One step in the order of torch.optim.SGD; `params` are float64 copies."""

    def __init__(
        self,
        params: Sequence[NDArray[Any]],
        lr: float | Callable[[int], float],
        *,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        decoupled: bool = False,
        maximize: bool = False,
    ) -> None:
        self.params = [np.array(p, np.float64) for p in params]
        self.buffers: list[Array | None] = [None] * len(self.params)
        self.lr, self.steps = lr, 0
        self.momentum, self.dampening, self.nesterov = momentum, dampening, nesterov
        self.weight_decay, self.decoupled, self.maximize = weight_decay, decoupled, maximize

    def step(self, grads: Sequence[NDArray[Any]], *, lr: float | None = None) -> None:
        rate = lr if lr is not None else self.lr(self.steps) if callable(self.lr) else self.lr
        for k, (p, g) in enumerate(zip(self.params, grads, strict=True)):
            g = -g.astype(np.float64) if self.maximize else g.astype(np.float64)
            if self.decoupled:
                p *= 1 - rate * self.weight_decay
            else:
                g = g + self.weight_decay * p
            if self.momentum:
                b = self.buffers[k]
                b = g if b is None else self.momentum * b + (1 - self.dampening) * g
                self.buffers[k] = b
                g = g + self.momentum * b if self.nesterov else b
            p -= rate * g
        self.steps += 1
