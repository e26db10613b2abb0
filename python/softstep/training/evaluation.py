"""A network's outputs and loss outside its training, a part of the rows at a time."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from softstep._typing import FloatArray
from softstep.training.batches import Samples
from softstep.training.losses import Loss, cross_entropy
from softstep.training.network import MLP

# Rows per product outside training, where the batch size has no meaning.
EVALUATION_ROWS = 1024


def logits_by_part(network: MLP, x: Any) -> Iterator[tuple[slice, FloatArray]]:
    """Yield the rows of each part of `x` and their outputs, which the next part overwrites."""
    for first in range(0, x.shape[0], network.rows):
        part = slice(first, first + network.rows)
        yield part, network.forward(x[part])


def evaluator(
    weights: Sequence[FloatArray],
    biases: Sequence[FloatArray],
    rows: int,
    activation: str = "relu",
) -> MLP:
    """Return a network on these arrays that goes over `rows` rows in parts."""
    return MLP(weights, biases, min(EVALUATION_ROWS, max(rows, 1)), activation=activation)


def logits_of(
    weights: Sequence[FloatArray],
    biases: Sequence[FloatArray],
    x: Any,
    activation: str = "relu",
) -> FloatArray:
    """Return the outputs of the rows of `x`, (n, C)."""
    rows = x.shape[0]
    outputs = np.empty((rows, biases[-1].size), biases[-1].dtype)
    for part, values in logits_by_part(evaluator(weights, biases, rows, activation), x):
        outputs[part] = values
    return outputs


def loss_of_outputs(outputs: FloatArray, samples: Samples, loss: Loss) -> float:
    """Return the weighted mean of the loss over the samples, whose outputs it uses up."""
    rows = samples.rows
    weight = None if samples.weights is None else samples.weights[rows]
    return loss.with_gradient(outputs, samples.labels[rows], weight, samples.total)[0]


def mean_loss(weights: list[FloatArray], biases: list[FloatArray], samples: Samples) -> float:
    """Return the weighted mean of the cross-entropy over the samples."""
    outputs = logits_of(weights, biases, samples.features[samples.rows])
    return loss_of_outputs(outputs, samples, cross_entropy())
