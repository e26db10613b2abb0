"""Softmax, its logarithm, its normaliser, its entropy, and the gradients."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

import softstep._core as _core
from softstep._typing import FloatArray
from softstep.losses.class_axes import Axis, map_classes, map_gradient, reduce_classes


def softmax(
    x: ArrayLike,
    *,
    axis: Axis = -1,
    temperature: float = 1.0,
    where: ArrayLike | None = None,
    out: FloatArray | None = None,
) -> FloatArray:
    """Probabilities of the classes: ``p = exp(x / T) / sum(exp(x / T))``.

    Parameters
    ----------
    x : array_like
        Logits of any shape; float32, float64, float16 or bfloat16 (ml_dtypes), computed in float32
        or wider; integers are computed as float64.
    axis : int, tuple of int or None
        The class axis, or axes taken as one; None: all.
    where : array_like of bool, optional
        Classes that take part; broadcast to the shape of `x`. The others have the probability 0,
        and so has every class of a row without any.
    temperature : float
        ``T > 0``. Above 1 it evens the probabilities out, below 1 it sharpens them. Texts that
        write ``exp(T x)`` mean its inverse.
    out : ndarray, optional
        Written instead of a new array; of the shape and dtype of `x`. It may be `x` itself.

    Returns
    -------
    ndarray or scalar
        Of the shape and dtype of `x`; NumPy's scalar if `x` is one. A row that holds NaN or +inf,
        or only -inf, is NaN, but 0 at the classes that `where` leaves out.

    Raises
    ------
    TypeError, ValueError
        For a dtype, axis, temperature or `out` that does not fit. Nothing is written then.

    References
    ----------
    J. S. Bridle, "Probabilistic interpretation of feedforward classification network outputs",
    1990.

    Examples
    --------
    >>> import softstep as ss
    >>> ss.softmax([0.0, 0.0, 0.0, 0.0])
    array([0.25, 0.25, 0.25, 0.25])
    >>> ss.softmax([1.0, 2.0], temperature=0.1).round(4)
    array([0., 1.])
    """
    return map_classes(_core.softmax, x, axis, temperature, where, out)


def log_softmax(
    x: ArrayLike,
    *,
    axis: Axis = -1,
    temperature: float = 1.0,
    where: ArrayLike | None = None,
    out: FloatArray | None = None,
) -> FloatArray:
    """Log-probabilities of the classes: ``x / T - logsumexp(x / T)``.

    Parameters, result and errors are those of `softmax`. Where a row holds +inf, its other classes
    are -inf and the infinite one is NaN.

    Examples
    --------
    >>> import softstep as ss
    >>> ss.log_softmax([1000.0, 0.0])
    array([    0., -1000.])
    """
    return map_classes(_core.log_softmax, x, axis, temperature, where, out)


def logsumexp(
    x: ArrayLike,
    *,
    axis: Axis = -1,
    temperature: float = 1.0,
    where: ArrayLike | None = None,
    keepdims: bool = False,
    out: FloatArray | None = None,
) -> Any:
    """Logarithm of the softmax's normaliser: ``log(sum(exp(x / T)))``.

    Parameters
    ----------
    x : array_like
        Logits of any shape and float dtype, as in `softmax`.
    axis : int, tuple of int or None
        The axis or axes that are summed; None: all.
    temperature : float
        ``T > 0``.
    where : array_like of bool, optional
        Classes that take part; broadcast to the shape of `x`.
    keepdims : bool
        Keep the summed axis with length 1.
    out : ndarray, optional
        Written instead of a new array; of the result's shape and dtype.

    Returns
    -------
    ndarray or scalar
        Of the shape of `x` without `axis`. -inf for rows of -inf and for rows without classes, +inf
        for rows with +inf, NaN for rows with NaN.

    Raises
    ------
    TypeError, ValueError
        For a dtype, axis, temperature or `out` that does not fit.

    Examples
    --------
    >>> import numpy as np, softstep as ss
    >>> float(ss.logsumexp(np.array([1000.0, 1000.0])))
    1000.6931471805599
    """
    return reduce_classes(
        _core.logsumexp, x, axis, temperature, where, -float("inf"), keepdims, out
    )


def entropy(
    logits: ArrayLike,
    *,
    axis: Axis = -1,
    temperature: float = 1.0,
    where: ArrayLike | None = None,
    keepdims: bool = False,
    out: FloatArray | None = None,
) -> Any:
    """Entropy, in nats, of the distribution that the logits stand for.

    ``H = -sum(p * log(p))`` with ``p = softmax(logits / T)`` and ``0 * log(0) = 0``, computed as
    ``logsumexp(x) - sum(p * x)`` without storing ``p``. Parameters and errors are those of
    `logsumexp`; rows whose softmax is NaN give NaN, rows that `where` leaves no class give 0.

    Examples
    --------
    >>> import numpy as np, softstep as ss
    >>> float(ss.entropy(np.zeros(8)) / np.log(2))
    3.0
    """
    return reduce_classes(_core.entropy, logits, axis, temperature, where, 0.0, keepdims, out)


def softmax_backward(
    dy: ArrayLike,
    y: ArrayLike,
    *,
    axis: Axis = -1,
    temperature: float = 1.0,
    where: ArrayLike | None = None,
    out: FloatArray | None = None,
) -> FloatArray:
    """Gradient of `softmax` with respect to its logits: ``y * (dy - sum(dy * y)) / T``.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to the probabilities, of the shape of `y`.
    y : array_like
        The probabilities that `softmax` returned.
    axis, temperature, where
        As in the forward call.
    out : ndarray, optional
        Written instead of a new array; it may be `dy` or `y` itself.

    Returns
    -------
    ndarray or scalar
        Of the shape and dtype of `y`.

    Raises
    ------
    TypeError, ValueError
        For a dtype, shape, axis or `out` that does not fit.

    Examples
    --------
    >>> import softstep as ss
    >>> ss.softmax_backward([1.0, 0.0], [0.5, 0.5])
    array([ 0.25, -0.25])
    """
    return map_gradient(_core.softmax_backward, dy, y, axis, temperature, where, out)


def log_softmax_backward(
    dy: ArrayLike,
    y: ArrayLike,
    *,
    axis: Axis = -1,
    temperature: float = 1.0,
    where: ArrayLike | None = None,
    out: FloatArray | None = None,
) -> FloatArray:
    """Gradient of `log_softmax` with respect to its logits: ``(dy - exp(y) * sum(dy)) / T``.

    As `softmax_backward`, with `y` what `log_softmax` returned.

    Examples
    --------
    >>> import numpy as np, softstep as ss
    >>> ss.log_softmax_backward([1.0, 0.0], np.log([0.5, 0.5]))
    array([ 0.5, -0.5])
    """
    return map_gradient(_core.log_softmax_backward, dy, y, axis, temperature, where, out)
