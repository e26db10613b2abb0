"""A network's logits and loss outside its training, a part of the rows at a time."""

from collections.abc import Iterator, Sequence

import numpy as np

import softstep as ss
from softstep._typing import FloatArray
from softstep.training.batches import Samples
from softstep.training.network import MLP

# Rows per product outside training, where the batch size has no meaning.
EVALUATION_ROWS = 1024


def logits_by_part(network: MLP, x: FloatArray) -> Iterator[tuple[slice, FloatArray]]:
    """Yield the rows of each part of `x` and their logits, which the next part overwrites."""
    for first in range(0, len(x), network.rows):
        part = slice(first, first + network.rows)
        yield part, network.forward(x[part])


def evaluator(weights: Sequence[FloatArray], biases: Sequence[FloatArray], rows: int) -> MLP:
    """Return a network on these arrays that goes over `rows` rows in parts."""
    return MLP(weights, biases, min(EVALUATION_ROWS, max(rows, 1)))


def logits_of(
    weights: Sequence[FloatArray], biases: Sequence[FloatArray], x: FloatArray
) -> FloatArray:
    """Return the logits of the rows of `x`, (n, C)."""
    logits = np.empty((len(x), biases[-1].size), biases[-1].dtype)
    for part, values in logits_by_part(evaluator(weights, biases, len(x)), x):
        logits[part] = values
    return logits


def mean_loss(weights: list[FloatArray], biases: list[FloatArray], samples: Samples) -> float:
    """Return the weighted mean of the loss over the samples."""
    logits = logits_of(weights, biases, samples.features[samples.rows])
    rows = samples.rows
    weight = None if samples.weights is None else samples.weights[rows]
    return float(ss.cross_entropy(logits, samples.labels[rows], sample_weight=weight))
