"""A learning rate from the data, so that features need not be scaled for training to be stable."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import softstep._core as _core
from softstep._typing import FloatArray
from softstep.training.activations import ACTIVATIONS
from softstep.training.batches import Samples
from softstep.training.network import product
from softstep.training.scaling import Scaling

# Rows that the moments are estimated from, evenly spread.
ROWS = 1024
POWER_ITERATIONS = 12
# Descent is stable below 2 over the curvature. Layers that move together leave each other less.
LINEAR_STEP, DEEP_STEP = 2.0, 1.0


def curvature(inputs: Any, batch_share: float) -> tuple[float, float]:
    """Return the largest eigenvalue of the second moments, and what small batches add to it.

    The eigenvalue bounds the curvature of the loss in a layer's weights, up to that of the loss by
    its outputs; a batch of b rows adds the mean squared norm over b to it.
    """
    rows, width = inputs.shape
    v = np.ones((width, 1), inputs.dtype)
    along = np.empty((rows, 1), inputs.dtype)
    largest = 0.0
    for _ in range(POWER_ITERATIONS):
        product(along, inputs, v)
        product(v, inputs.T, along)
        v /= rows
        largest = math.sqrt(_core.sum_of_squares([v]))
        if not largest:
            break
        v /= largest
    values = inputs if isinstance(inputs, np.ndarray) else inputs.data
    return largest, _core.sum_of_squares([values]) / rows * batch_share


def sgd_rate(
    weights: Sequence[FloatArray],
    biases: Sequence[FloatArray],
    samples: Samples,
    batch_size: int,
    momentum: float,
    *,
    by_outputs: float = 0.5,
    noise_margin: float = 1.0,
    decays: Sequence[float] | None = None,
    activation: str = "relu",
    scaling: Scaling | None = None,
) -> float:
    """Return a stable rate for the steepest layer of the network as it is at its start.

    ``by_outputs`` is the loss's curvature by the outputs, ``decays`` the curvature of each layer's
    penalty, if any. The noise of small batches counts ``noise_margin`` times: once for a step that
    is stable, more often for one that keeps the loss near its lowest.
    """
    count = len(samples.rows)
    rows = samples.rows[:: -(-count // ROWS)]
    inputs: Any = samples.features[rows]
    if scaling is not None:
        scaling.apply(inputs)
    scale = None
    if samples.weights is not None:
        row_weights = samples.weights[rows]
        scale = np.sqrt(row_weights / row_weights.mean())[:, None]
    batch_share = (1 / batch_size - 1 / count) / (1 - momentum)
    steepest = 0.0
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        largest, noise = curvature(_times(inputs, scale), batch_share)
        decay = 0.0 if decays is None else decays[layer]
        steepest = max(steepest, by_outputs * (largest + 1 + noise_margin * noise) + decay)
        outputs = np.empty((inputs.shape[0], bias.size), weight.dtype)
        applied = ACTIVATIONS[activation]
        product(outputs, inputs, weight, bias, relu=applied is None)
        if applied is not None:
            applied.apply(outputs)
        inputs = outputs
    return (LINEAR_STEP if len(weights) == 1 else DEEP_STEP) / steepest


def _times(inputs: Any, scale: FloatArray | None) -> Any:
    if scale is None:
        return inputs
    return inputs * scale if isinstance(inputs, np.ndarray) else inputs.multiply(scale).tocsr()
