"""The specification in code: each public function of softstep in float64 NumPy, written to be read.

Nothing here is fast or in place. A function takes the options of its namesake, except `out`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tests.reference.cross_entropy import (
    Loss,
    cross_entropy,
    cross_entropy_results,
    cross_entropy_with_grad,
    one_hot,
)
from tests.reference.optimizers import SGD, AdamW, global_norm
from tests.reference.softmax import (
    Array,
    entropy,
    log_softmax,
    log_softmax_backward,
    logsumexp,
    masked,
    quiet,
    softmax,
    softmax_backward,
)

__all__ = [
    "SGD",
    "AdamW",
    "cross_entropy",
    "cross_entropy_results",
    "cross_entropy_with_grad",
    "entropy",
    "global_norm",
    "hinge",
    "hinge_with_grad",
    "l2_penalty",
    "log_softmax",
    "log_softmax_backward",
    "logsumexp",
    "masked",
    "softmax",
    "softmax_backward",
    "squared_error",
    "squared_error_with_grad",
]


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
    own = one_hot(target, np.ones(target.shape, bool), s.shape[-1])
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
