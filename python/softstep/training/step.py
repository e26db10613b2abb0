"""Mini-batch training of a network whose last layer is a softmax."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import softstep as ss
from softstep import schedules
from softstep._typing import FloatArray
from softstep.training.batches import Batch, Samples
from softstep.training.network import MLP


@dataclass
class Layers:
    """Weights (inputs, outputs) and biases, with what a later partial fit goes on from."""

    weights: list[FloatArray]
    biases: list[FloatArray]
    lr: float | None = None
    state: dict[str, Any] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)


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
