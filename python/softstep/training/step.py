"""Mini-batch training of a network."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import softstep as ss
from softstep._typing import FloatArray
from softstep.training.batches import Batch, Samples
from softstep.training.losses import Loss
from softstep.training.network import MLP
from softstep.training.scaling import Scaling


@dataclass
class Layers:
    """Weights (inputs, outputs) and biases, with what a later partial fit goes on from."""

    weights: list[FloatArray]
    biases: list[FloatArray]
    lr: float | None = None
    state: dict[str, Any] = field(default_factory=dict)
    scaling: Scaling | None = None
    losses: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)
    validation_scores: list[float] = field(default_factory=list)
    # Epochs, and rows gone over, in earlier fits too.
    epochs: int = 0
    seen: int = 0

    @property
    def new(self) -> bool:
        """Whether they are as they were drawn, for whatever coordinates."""
        return self.seen == 0

    def raw(self) -> tuple[list[FloatArray], list[FloatArray]]:
        """Return weights and biases as features need them that are not scaled."""
        if self.scaling is None:
            return self.weights, self.biases
        return self.scaling.raw(self.weights, self.biases)


@dataclass(frozen=True)
class Plan:
    """How to train: the rate of each step, the penalty of each layer's weights, and so on."""

    loss: Loss
    rate: Callable[[int], float]
    batch_size: int
    epochs: int
    shuffle: bool
    alphas: Sequence[float]
    activation: str
    # Whether the penalty's gradient is not the optimizer's to add, where features are scaled.
    add_decay: bool


def penalty(weights: Sequence[FloatArray], alphas: Sequence[float]) -> float:
    """Return ``alpha / 2 ||W||**2``, summed over the layers."""
    return sum(ss.l2_penalty(w, alpha / 2) for w, alpha in zip(weights, alphas, strict=True))


def train(
    layers: Layers,
    optimizer: Any,
    samples: Samples,
    plan: Plan,
    rng: np.random.Generator,
    on_rows: Callable[[int], None],
) -> Iterator[float]:
    """Yield the mean loss of each epoch plus the penalty; the parameters change in place."""
    count, size, scaling = len(samples.rows), plan.batch_size, layers.scaling
    network = MLP(layers.weights, layers.biases, size, gradients=True, activation=plan.activation)
    batch = Batch.of(samples, size)
    parameters = len(list(optimizer.params))
    gradients = [*network.weight_gradients, *network.bias_gradients][:parameters]
    mean_weight = samples.total / count
    step = 0
    for _ in range(plan.epochs):
        order = rng.permutation(samples.rows) if plan.shuffle else samples.rows
        loss_sum = 0.0
        for first in range(0, count, size):
            x, targets, weight = batch.take(samples, order[first : first + size])
            rows = x.shape[0]
            if scaling is not None:
                scaling.apply(x)
            # Every row counts the same in any batch: not the sum of the batch's own weights.
            loss, gradient = plan.loss.with_gradient(
                network.forward(x), targets, weight, mean_weight * rows
            )
            network.backward(gradient)
            if scaling is not None and plan.add_decay:
                scaling.add_decay(gradients[0], layers.weights[0], plan.alphas[0])
            optimizer.step(gradients, lr=plan.rate(step))
            loss_sum += loss * rows
            step += 1
            on_rows(rows)
        layers.epochs += 1
        layers.seen += count
        yield loss_sum / count + penalty(layers.raw()[0], plan.alphas)


def epoch_steps(samples: Samples, batch_size: int) -> int:
    """Return how many batches the rows make."""
    return math.ceil(len(samples.rows) / batch_size)
