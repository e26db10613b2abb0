"""Hinge loss of two classes and of many, from their scores."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

import softstep._core as _core
from softstep._typing import FloatArray
from softstep.losses.options import Reduction


def hinge(
    scores: ArrayLike,
    target: ArrayLike,
    *,
    axis: int = -1,
    margin: float = 1.0,
    reduction: Reduction = "mean",
) -> Any:
    """Hinge loss: what a score lacks to be right by a margin.

    - two classes, targets t of -1 and +1: ``max(0, margin - t * s)``,
    - many classes, target t a class (Crammer-Singer):
      ``max(0, margin + max(s[j] for j != t) - s[t])``.

    Parameters
    ----------
    scores : array_like
        Any shape; float32 or float64. For many classes they lie along `axis`.
    target : array_like
        Of the shape of `scores`: -1 and +1, as float32, float64, integers or bool. Of that shape
        without `axis`: class indices of any integer dtype.
    axis : int
        The class axis; of no meaning for two classes.
    margin : float
        The lead that a right score must have.
    reduction : {"mean", "sum", "none"}
        The mean divides by the number of targets.

    Returns
    -------
    float or ndarray
        The reduced loss; for "none" an array of the shape of `target`. NaN for a row that holds a
        NaN, and for the mean over no targets; 0 where there is only one class.

    Raises
    ------
    IndexError
        A class outside [0, C); names row and value.
    TypeError, ValueError
        For a dtype, shape, axis, margin or reduction that does not fit, and for a target of two
        classes that is not -1 or +1.

    References
    ----------
    K. Crammer and Y. Singer, "On the algorithmic implementation of multiclass kernel-based vector
    machines", JMLR 2, 2001. ``sklearn.metrics.hinge_loss`` is the mean with a margin of 1.

    Examples
    --------
    >>> import softstep as ss
    >>> ss.hinge([0.5, -2.0, 3.0], [1, -1, 1], reduction="none")
    array([0.5, 0. , 0. ])
    >>> ss.hinge([[1.0, 2.0, 0.0], [5.0, 0.0, 0.0]], [0, 0])
    1.0
    """
    loss, _ = _hinge(scores, target, axis, margin, reduction, False, None)
    return loss


def hinge_with_grad(
    scores: ArrayLike,
    target: ArrayLike,
    *,
    axis: int = -1,
    margin: float = 1.0,
    reduction: Reduction = "mean",
    out: FloatArray | None = None,
) -> tuple[Any, FloatArray]:
    """`hinge` and a subgradient with respect to the scores, in one pass.

    Where the loss is 0, the kink included, the subgradient is 0. Elsewhere, with g = 1 / n in a
    mean of n targets and 1 otherwise, it is ``-g * t`` for two classes; for many it is -g at the
    target and g at its rival, the first of the highest-scored other classes. A NaN in a row makes
    the row's gradient NaN.

    Parameters
    ----------
    scores, target, axis, margin, reduction
        As in `hinge`. With "none" the gradient is that of the sum of the losses.
    out : ndarray, optional
        Written instead of a new array; of the shape and dtype of `scores`, or `scores` itself.

    Returns
    -------
    loss : float or ndarray
        As `hinge` returns it.
    dscores : ndarray
        Of the shape and dtype of `scores`; `out` if it was given.

    Raises
    ------
    IndexError, TypeError, ValueError
        As `hinge`, before anything is written.

    Examples
    --------
    >>> import softstep as ss
    >>> ss.hinge_with_grad([[1.0, 2.0, 0.0], [5.0, 0.0, 0.0]], [0, 0], reduction="sum")
    (2.0, array([[-1.,  1.,  0.],
           [ 0.,  0.,  0.]]))
    """
    return _hinge(scores, target, axis, margin, reduction, True, out)


def _hinge(
    scores: ArrayLike,
    target: ArrayLike,
    axis: int,
    margin: float,
    reduction: Reduction,
    with_gradient: bool,
    out: FloatArray | None,
) -> tuple[Any, FloatArray]:
    x, t = _core.as_array(scores, "scores"), _core.as_array(target, "target")
    if t.shape == x.shape:
        return _core.binary_hinge(x, t, margin, reduction, with_gradient, out)
    return _core.hinge(x, t, axis, margin, reduction, with_gradient, out)
