"""Mini-batch training of a network whose last layer is a softmax."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import softstep as ss
from softstep import schedules
from softstep._typing import FloatArray
from softstep.cli.mlp import MLP

# Rows per product outside training.
EVALUATION_ROWS = 1024


@dataclass(frozen=True)
class Samples:
    """Rows of a table with their labels and weights; ``rows`` are those that take part."""

    features: FloatArray
    labels: Any
    weights: FloatArray | None
    rows: Any

    @property
    def total(self) -> float:
        """The sum of the weights."""
        return float(len(self.rows) if self.weights is None else self.weights[self.rows].sum())


@dataclass
class Batch:
    """Memory of one batch, which `take` fills."""

    features: FloatArray
    labels: Any
    weights: FloatArray | None

    @classmethod
    def of(cls, samples: Samples, rows: int) -> "Batch":
        """Allocate ``rows`` rows."""
        features = np.empty((rows, samples.features.shape[1]), samples.features.dtype)
        weights = None if samples.weights is None else np.empty(rows, samples.weights.dtype)
        return cls(features, np.empty(rows, samples.labels.dtype), weights)

    def take(self, samples: Samples, rows: Any) -> tuple[FloatArray, Any, FloatArray | None]:
        """Return views of the rows' features, labels and weights."""
        n = len(rows)
        # mode="raise" would go through a temporary copy.
        np.take(samples.features, rows, axis=0, out=self.features[:n], mode="clip")
        np.take(samples.labels, rows, out=self.labels[:n], mode="clip")
        if self.weights is None or samples.weights is None:
            return self.features[:n], self.labels[:n], None
        np.take(samples.weights, rows, out=self.weights[:n], mode="clip")
        return self.features[:n], self.labels[:n], self.weights[:n]


@dataclass
class Layers:
    """Weights (inputs, outputs) and biases, with what a later partial fit goes on from."""

    weights: list[FloatArray]
    biases: list[FloatArray]
    lr: float | None = None
    state: dict[str, Any] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)


def logits_of(weights: list[FloatArray], biases: list[FloatArray], x: FloatArray) -> FloatArray:
    """Return the logits of the rows of `x`, (n, C)."""
    logits = np.empty((len(x), biases[-1].size), biases[-1].dtype)
    network = MLP(weights, biases, min(EVALUATION_ROWS, len(x)))
    for first in range(0, len(x), EVALUATION_ROWS):
        part = slice(first, first + EVALUATION_ROWS)
        logits[part] = network.forward(x[part])
    return logits


def mean_loss(weights: list[FloatArray], biases: list[FloatArray], samples: Samples) -> float:
    """Return the weighted mean of the loss over the samples."""
    logits = logits_of(weights, biases, samples.features[samples.rows])
    rows = samples.rows
    weight = None if samples.weights is None else samples.weights[rows]
    return float(ss.cross_entropy(logits, samples.labels[rows], sample_weight=weight))


@dataclass(frozen=True)
class Plan:
    """How to train: the first rate, whether it falls to 0 over ``max_iter`` epochs, and so on."""

    lr: float
    falls: bool
    batch_size: int
    max_iter: int
    shuffle: bool
    label_smoothing: float
    alpha: float


def train(
    layers: Layers,
    optimizer: Any,
    samples: Samples,
    plan: Plan,
    rng: np.random.Generator,
    on_rows: Any,
) -> Iterator[float]:
    """Yield the mean loss of each epoch plus the penalty; the parameters change in place."""
    count, size = len(samples.rows), plan.batch_size
    network = MLP(layers.weights, layers.biases, size, gradients=True)
    batch = Batch.of(samples, size)
    gradients = [*network.weight_gradients, *network.bias_gradients][: len(optimizer.params)]
    steps = plan.max_iter * math.ceil(count / size)
    schedule = schedules.cosine(plan.lr, steps) if plan.falls else schedules.constant(plan.lr)
    mean_weight = samples.total / count
    step = 0
    for _ in range(plan.max_iter):
        order = rng.permutation(samples.rows) if plan.shuffle else samples.rows
        loss_sum = 0.0
        for first in range(0, count, size):
            x, labels, weight = batch.take(samples, order[first : first + size])
            logits = network.forward(x)
            # Every row counts the same in any batch: not the sum of the batch's own weights.
            loss, dlogits = ss.cross_entropy_with_grad(
                logits,
                labels,
                sample_weight=weight,
                label_smoothing=plan.label_smoothing,
                denominator=mean_weight * len(x),
                out=logits,
            )
            network.backward(dlogits)
            optimizer.step(gradients, lr=schedule(step))
            loss_sum += loss * len(x)
            step += 1
            on_rows(len(x))
        yield loss_sum / count + ss.l2_penalty(layers.weights, plan.alpha / 2)
