"""Softmax, its logarithm, its normaliser, its entropy, and the gradients."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from softstep import _core
from softstep._typing import FloatArray


def softmax(
    x: ArrayLike, *, axis: int = -1, temperature: float = 1.0, out: FloatArray | None = None
) -> FloatArray:
    """Probabilities of the classes: ``p = exp(x / T) / sum(exp(x / T))``.

    Parameters
    ----------
    x : array_like
        Logits of any shape; float32 or float64, integers are computed as float64.
    axis : int
        The class axis.
    temperature : float
        ``T > 0``. Above 1 it evens the probabilities out, below 1 it sharpens them. Texts that write
        ``exp(T x)`` mean its inverse.
    out : ndarray, optional
        Written instead of a new array; of the shape and dtype of `x`. It may be `x` itself.

    Returns
    -------
    ndarray
        Of the shape and dtype of `x`. A row that holds NaN or +inf, or only -inf, is NaN.

    Raises
    ------
    TypeError, ValueError
        For a dtype, axis, temperature or `out` that does not fit. Nothing is written then.

    References
    ----------
    J. S. Bridle, "Probabilistic interpretation of feedforward classification network outputs", 1990.

    Examples
    --------
    >>> import softstep as ss
    >>> ss.softmax([0.0, 0.0, 0.0, 0.0])
    array([0.25, 0.25, 0.25, 0.25])
    >>> ss.softmax([1.0, 2.0], temperature=0.1).round(4)
    array([0., 1.])
    """
    return _core.softmax(x, axis, temperature, out)


def log_softmax(
    x: ArrayLike, *, axis: int = -1, temperature: float = 1.0, out: FloatArray | None = None
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
    return _core.log_softmax(x, axis, temperature, out)


def logsumexp(
    x: ArrayLike,
    *,
    axis: int = -1,
    temperature: float = 1.0,
    keepdims: bool = False,
    out: FloatArray | None = None,
) -> Any:
    """Logarithm of the softmax's normaliser: ``log(sum(exp(x / T)))``.

    Parameters
    ----------
    x : array_like
        Logits of any shape; float32 or float64, integers are computed as float64.
    axis : int
        The axis that is summed.
    temperature : float
        ``T > 0``.
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
    return _reduced(_core.logsumexp(x, axis, temperature), axis, keepdims, out)


def entropy(
    logits: ArrayLike,
    *,
    axis: int = -1,
    temperature: float = 1.0,
    keepdims: bool = False,
    out: FloatArray | None = None,
) -> Any:
    """Entropy, in nats, of the distribution that the logits stand for.

    ``H = -sum(p * log(p))`` with ``p = softmax(logits / T)`` and ``0 * log(0) = 0``, computed as
    ``logsumexp(x) - sum(p * x)`` without storing ``p``. Parameters and errors are those of
    `logsumexp`; rows whose softmax is NaN give NaN.

    Examples
    --------
    >>> import numpy as np, softstep as ss
    >>> float(ss.entropy(np.zeros(8)) / np.log(2))
    3.0
    """
    return _reduced(_core.entropy(logits, axis, temperature), axis, keepdims, out)


def softmax_backward(
    dy: ArrayLike,
    y: ArrayLike,
    *,
    axis: int = -1,
    temperature: float = 1.0,
    out: FloatArray | None = None,
) -> FloatArray:
    """Gradient of `softmax` with respect to its logits: ``y * (dy - sum(dy * y)) / T``.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to the probabilities, of the shape of `y`.
    y : array_like
        The probabilities that `softmax` returned.
    axis, temperature
        As in the forward call.
    out : ndarray, optional
        Written instead of a new array; it may be `dy` or `y` itself.

    Returns
    -------
    ndarray
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
    return _core.softmax_backward(dy, y, axis, temperature, out)


def log_softmax_backward(
    dy: ArrayLike,
    y: ArrayLike,
    *,
    axis: int = -1,
    temperature: float = 1.0,
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
    return _core.log_softmax_backward(dy, y, axis, temperature, out)


def _reduced(result: FloatArray, axis: int, keepdims: bool, out: FloatArray | None) -> Any:
    if keepdims:
        result = np.expand_dims(result, axis)
    if out is None:
        return result if result.ndim else result[()]
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out: expected a NumPy array, got {type(out).__name__}")
    if out.shape != result.shape:
        raise ValueError(f"out: expected shape {result.shape}, got {out.shape}")
    if out.dtype != result.dtype:
        raise TypeError(f"out: expected {result.dtype}, got {out.dtype}")
    if not out.flags.writeable:
        raise ValueError("out: expected a writeable array, got a read-only one")
    np.copyto(out, result)
    return out
