"""The losses that networks are trained on, in one form: weighted rows and a denominator.

Each overwrites the outputs, (n, C), by their gradient, and is divided by ``denominator``; the
functions of the package compute it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import softstep as ss
from softstep._typing import FloatArray

# Of outputs, targets, the rows' weights or None, and the denominator.
WithGradient = Callable[[FloatArray, Any, FloatArray | None, float], tuple[float, FloatArray]]


class Loss(NamedTuple):
    """A loss of rows, and how curved a step has to expect it to be by their outputs.

    The softmax's 1/2 is reached by few rows, the square's 1 by all: twice that, since Nesterov's
    momentum of 0.9 is stable up to 1.36 over the curvature, not 2. A kink has none.
    """

    with_gradient: WithGradient
    curvature: float


def cross_entropy(label_smoothing: float = 0.0) -> Loss:
    """Return the cross-entropy of class indices, (n,)."""
    return Loss(partial(_cross_entropy, label_smoothing), 0.5)


def _cross_entropy(
    label_smoothing: float,
    outputs: FloatArray,
    labels: Any,
    weight: FloatArray | None,
    denominator: float,
) -> tuple[float, FloatArray]:
    return ss.cross_entropy_with_grad(
        outputs,
        labels,
        sample_weight=weight,
        label_smoothing=label_smoothing,
        denominator=denominator,
        out=outputs,
    )


def _half_squared_error(
    outputs: FloatArray, targets: Any, weight: FloatArray | None, denominator: float
) -> tuple[float, FloatArray]:
    losses, gradient = ss.squared_error_with_grad(outputs, targets, reduction="none", out=outputs)
    return _weighted(losses, gradient, weight, 2 * denominator)


def _hinge(
    outputs: FloatArray, targets: Any, weight: FloatArray | None, denominator: float
) -> tuple[float, FloatArray]:
    losses, gradient = ss.hinge_with_grad(outputs, targets, reduction="none", out=outputs)
    return _weighted(losses, gradient, weight, denominator)


def _weighted(
    losses: FloatArray, gradient: FloatArray, weight: FloatArray | None, denominator: float
) -> tuple[float, FloatArray]:
    rows = losses.reshape(len(losses), -1).sum(axis=1, dtype=np.float64)
    if weight is not None:
        rows *= weight
        gradient *= weight[:, None]
    gradient /= denominator
    return float(rows.sum()) / denominator, gradient


# Of targets (n, C); half of it, as a derivative without a factor has it.
HALF_SQUARED_ERROR = Loss(_half_squared_error, 2.0)
# Of class indices (n,), or of -1 and +1 (n, 1).
HINGE = Loss(_hinge, 0.5)
