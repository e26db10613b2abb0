"""A learning rate from the data, so that features need not be scaled for training to be stable."""

import math

import numpy as np

import softstep._core as _core
from softstep._typing import FloatArray
from softstep.training.batches import Samples
from softstep.training.network import product

# Rows that the moments are estimated from, evenly spread.
ROWS = 1024
POWER_ITERATIONS = 12
# Descent is stable below 2 over the curvature, and the softmax's is at most 1/2. Layers that move
# together leave each other less.
LINEAR_STEP, DEEP_STEP = 4.0, 2.0


def curvature(inputs: FloatArray, batch_share: float) -> tuple[float, float]:
    """Return the largest eigenvalue of the second moments, and what small batches add to it.

    The eigenvalue bounds the curvature of the loss in a layer's weights, up to the factor of the
    softmax; a batch of b rows adds the mean squared norm over b to it.
    """
    v = np.ones((inputs.shape[1], 1), inputs.dtype)
    along = np.empty((len(inputs), 1), inputs.dtype)
    largest = 0.0
    for _ in range(POWER_ITERATIONS):
        product(along, inputs, v)
        product(v, inputs.T, along)
        v /= len(inputs)
        largest = math.sqrt(_core.sum_of_squares([v]))
        if not largest:
            break
        v /= largest
    return largest, _core.sum_of_squares([inputs]) / len(inputs) * batch_share


def sgd_rate(
    weights: list[FloatArray],
    biases: list[FloatArray],
    samples: Samples,
    batch_size: int,
    momentum: float,
) -> float:
    """Return a stable rate for the steepest layer of the network as it is at its start."""
    count = len(samples.rows)
    rows = samples.rows[:: -(-count // ROWS)]
    inputs = samples.features[rows]
    scale: FloatArray | float = 1.0
    if samples.weights is not None:
        row_weights = samples.weights[rows]
        scale = np.sqrt(row_weights / row_weights.mean())[:, None]
    batch_share = (1 / batch_size - 1 / count) / (1 - momentum)
    steepest = 0.0
    for weight, bias in zip(weights, biases, strict=True):
        largest, noise = curvature(inputs * scale, batch_share)
        steepest = max(steepest, largest + 1 + noise)
        outputs = np.empty((len(inputs), bias.size), inputs.dtype)
        product(outputs, inputs, weight, bias)
        inputs = np.maximum(outputs, 0, out=outputs)
    return (LINEAR_STEP if len(weights) == 1 else DEEP_STEP) / steepest
