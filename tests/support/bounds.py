"""The rounding granted to the vector mathematics, and to the softmax family by its terms."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests import reference as ref
from tests.support.cases import roundoff

EXP_ULP = {np.float32: 1.25, np.float64: 1.25}
LOG_ULP = {np.float32: 1.0, np.float64: 1.0}
LOG1P_ULP = {np.float32: 1.5, np.float64: 1.5}
TANH_ULP = {np.float32: 4.5, np.float64: 4.0}
TANH_SLOPE_ULP = {np.float32: 4.75, np.float64: 4.5}


def softmax_family(name: str, x: Any, *, axis: int = -1, temperature: float = 1.0) -> Any:
    """The error of exp(d), d = (x - max) / T, is |d| eps relative: it follows the distance."""
    z = np.asarray(x, np.float64) / temperature
    unit = roundoff(x.dtype, z.shape[axis])
    if name == "softmax":
        distance = z.max(axis=axis, keepdims=True) - z
        return unit * (1 + distance) * ref.softmax(z, axis=axis)
    if name == "log_softmax":
        return unit * (1 + np.abs(ref.log_softmax(z, axis=axis)))
    if name == "logsumexp":
        return unit * (1 + np.abs(z).max(axis=axis))
    return unit * (1 + ref.entropy(z, axis=axis))


def softmax_backward(
    name: str, dy: NDArray[Any], y: NDArray[Any], *, axis: int = -1, temperature: float = 1.0
) -> Any:
    """Every term of the sums is rounded: their absolute values bound the error, not the result."""
    d, v = np.abs(dy.astype(np.float64)), y.astype(np.float64)
    if name == "softmax_backward":
        size = v * (d + (d * v).sum(axis=axis, keepdims=True))
    else:
        size = d + np.exp(v) * (1 - v) * d.sum(axis=axis, keepdims=True)
    return roundoff(dy.dtype, dy.shape[axis]) * size / temperature


def rounded_probabilities(
    dy: NDArray[Any], y: NDArray[Any], *, axis: int = -1, temperature: float = 1.0
) -> Any:
    """What the rounding of y to half precision adds to the error of softmax_backward.

    Near certainty the kernels take the sum of the other probabilities for 1 - y. Of rounded ones
    the two differ by what the sum of all lacks to 1.
    """
    d, v = np.abs(dy.astype(np.float64)), y.astype(np.float64)
    lacking = np.abs(1 - v.sum(axis=axis, keepdims=True))
    return np.where(v > 0.9375, v * d * lacking, 0) / temperature
