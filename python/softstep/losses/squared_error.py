"""Squared error, the loss of regression."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

import softstep._core as _core
from softstep._typing import FloatArray
from softstep.losses.options import Reduction


def squared_error(
    predictions: ArrayLike, target: ArrayLike, *, reduction: Reduction = "mean"
) -> Any:
    """Squared error ``(p - y)**2`` between predictions p and targets y.

    Parameters
    ----------
    predictions : array_like
        Any shape; float32 or float64.
    target : array_like
        Of the shape and dtype of `predictions`: nothing is broadcast.
    reduction : {"mean", "sum", "none"}
        The mean divides by the number of elements. Sums are accumulated in double precision.

    Returns
    -------
    float or ndarray
        The reduced loss; for "none" an array of the shape of `predictions`. The mean over no
        elements is NaN.

    Raises
    ------
    TypeError, ValueError
        For a dtype, shape or reduction that does not fit.

    References
    ----------
    The semantics are those of ``torch.nn.functional.mse_loss``.

    Examples
    --------
    >>> import softstep as ss
    >>> ss.squared_error([1.0, 2.0, 3.0], [1.0, 0.0, 5.0], reduction="sum")
    8.0
    """
    loss, _ = _core.squared_error(predictions, target, reduction, False, None)
    return loss


def squared_error_with_grad(
    predictions: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    out: FloatArray | None = None,
) -> tuple[Any, FloatArray]:
    """`squared_error` and its gradient with respect to the predictions, in one pass.

    ``dpredictions = 2 g (p - y)`` with ``g = 1 / n`` in a mean of n elements, 1 otherwise.

    Parameters
    ----------
    predictions, target, reduction
        As in `squared_error`. With "none" the gradient is that of the sum of the losses.
    out : ndarray, optional
        Written instead of a new array; of the shape and dtype of `predictions`, or `predictions`
        itself.

    Returns
    -------
    loss : float or ndarray
        As `squared_error` returns it.
    dpredictions : ndarray
        Of the shape and dtype of `predictions`; `out` if it was given.

    Raises
    ------
    TypeError, ValueError
        As `squared_error`, before anything is written.

    Examples
    --------
    >>> import softstep as ss
    >>> ss.squared_error_with_grad([1.0, 2.0], [1.0, 0.0])
    (2.0, array([0., 2.]))
    """
    return _core.squared_error(predictions, target, reduction, True, out)
