"""The multinomial loss with the interface of ``sklearn._loss``."""

from __future__ import annotations

from typing import Any

import numpy as np
import sklearn._loss.loss

import softstep as ss
from softstep._typing import FloatArray


class HalfMultinomialLoss(sklearn._loss.loss.HalfMultinomialLoss):  # type: ignore[misc] # noqa: SLF001
    """Cross-entropy of class labels, one value and one gradient row for each sample.

    ``loss[i] = w[i] (logsumexp(raw[i]) - raw[i, t])``, ``t = y_true[i]``, and its gradient
    ``w[i] (softmax(raw[i]) - [k == t])``.

    Takes the place of ``sklearn._loss.loss.HalfMultinomialLoss``, of which it is a subclass: the
    same results to rounding, from softstep's kernels. The link, the intercept-only model and the
    hessian are those of the base class.

    Parameters
    ----------
    sample_weight : ignored
        For the interface.
    n_classes : int
        C.

    Notes
    -----
    `y_true` holds labels in [0, C), of a floating dtype as scikit-learn has it or of any other;
    `raw_prediction` has the shape (n, C), any layout, float32 or float64. `n_threads` is ignored:
    softstep's own setting counts, on which no result depends. A label outside [0, C) is an
    IndexError.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep.sklearn import HalfMultinomialLoss
    >>> loss = HalfMultinomialLoss(n_classes=3)
    >>> y, raw = np.array([0.0, 2.0]), np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 1.0]])
    >>> loss.loss(y, raw).round(4)
    array([2.4076, 0.5514])
    >>> loss.gradient(y, raw, sample_weight=np.array([1.0, 2.0])).round(3)
    array([[-0.91 ,  0.245,  0.665],
           [ 0.424,  0.424, -0.848]])
    """

    def loss(
        self,
        y_true: FloatArray,
        raw_prediction: FloatArray,
        sample_weight: FloatArray | None = None,
        loss_out: FloatArray | None = None,
        n_threads: int = 1,
    ) -> FloatArray:
        """Return the loss of each sample, in `loss_out` if it is given."""
        loss = ss.cross_entropy(
            raw_prediction, _labels(y_true), sample_weight=sample_weight, reduction="none"
        )
        return _delivered(loss, loss_out, y_true.dtype)

    def loss_gradient(
        self,
        y_true: FloatArray,
        raw_prediction: FloatArray,
        sample_weight: FloatArray | None = None,
        loss_out: FloatArray | None = None,
        gradient_out: FloatArray | None = None,
        n_threads: int = 1,
    ) -> tuple[FloatArray, FloatArray]:
        """Return the loss and the gradient of each sample, from one pass."""
        # As scikit-learn has it, each result without a place of its own follows the other's dtype.
        loss_dtype = y_true.dtype if gradient_out is None else gradient_out.dtype
        dtype = raw_prediction.dtype if loss_out is None else loss_out.dtype
        direct = gradient_out is not None and gradient_out.dtype == raw_prediction.dtype
        loss, gradient = ss.cross_entropy_with_grad(
            raw_prediction,
            _labels(y_true),
            sample_weight=sample_weight,
            reduction="none",
            out=gradient_out if direct else None,
        )
        if not direct:
            gradient = _delivered(gradient, gradient_out, dtype)
        return _delivered(loss, loss_out, loss_dtype), gradient

    def gradient(
        self,
        y_true: FloatArray,
        raw_prediction: FloatArray,
        sample_weight: FloatArray | None = None,
        gradient_out: FloatArray | None = None,
        n_threads: int = 1,
    ) -> FloatArray:
        """Return the gradient of each sample, in `gradient_out` if it is given."""
        return self.loss_gradient(y_true, raw_prediction, sample_weight, gradient_out=gradient_out)[
            1
        ]

    def gradient_proba(
        self,
        y_true: FloatArray,
        raw_prediction: FloatArray,
        sample_weight: FloatArray | None = None,
        gradient_out: FloatArray | None = None,
        proba_out: FloatArray | None = None,
        n_threads: int = 1,
    ) -> tuple[FloatArray, FloatArray]:
        """Return the gradient of each sample, and the probabilities of its classes."""
        dtypes = [out.dtype for out in (proba_out, gradient_out) if out is not None]
        dtype = dtypes[0] if dtypes else raw_prediction.dtype
        if gradient_out is None:
            gradient_out = np.empty_like(raw_prediction, dtype=dtype)
        proba = _delivered(ss.softmax(raw_prediction), proba_out, dtype)
        return self.gradient(y_true, raw_prediction, sample_weight, gradient_out), proba


def _labels(y_true: FloatArray) -> Any:
    return y_true.astype(np.int64)


def _delivered(result: FloatArray, out: FloatArray | None, dtype: Any) -> FloatArray:
    if out is None:
        return result.astype(dtype, copy=False)
    out[...] = result
    return out
