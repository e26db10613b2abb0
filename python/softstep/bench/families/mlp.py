"""A training step of a multi-layer perceptron: forward, loss, backward and SGD on one batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import softstep as ss
from softstep.bench.arrays import aligned
from softstep.bench.contender import BEST, OWN, ROOFLINE, WRITTEN, Call, Contender, Outcome
from softstep.bench.families import mlp_numpy, mlp_peers
from softstep.bench.families.mlp_numpy import step_in_place, step_written
from softstep.bench.families.mlp_peers import LR, MOMENTUM
from softstep.training.network import MLP, initial_parameters


class Training:
    """One batch, and the parameters that NumPy's and softstep's contenders train in place."""

    verified_calls = 2
    tolerance = 2e-5

    def __init__(self, batch: int, sizes: Sequence[int]) -> None:
        rng = np.random.default_rng(0)
        self.sizes = tuple(sizes)
        self.x = aligned(rng.standard_normal((batch, sizes[0]), dtype=np.float32))
        self.target = aligned(rng.integers(sizes[-1], size=batch))
        weights, biases = initial_parameters(sizes, rng)
        # Not 0, or the first step would leave the hidden layers as they are.
        weights[-1][...] = rng.standard_normal(weights[-1].shape) / np.sqrt(sizes[-2])
        self.first_weights, self.first_biases = weights, biases
        self.weights = [aligned(weight) for weight in weights]
        self.biases = [aligned(bias) for bias in biases]
        self.elements = batch
        self.expected = _reference(self)

    def restore(self) -> None:
        """Forget the training, so that every sample trains from the start."""
        for array, first in zip(
            [*self.weights, *self.biases], [*self.first_weights, *self.first_biases], strict=True
        ):
            np.copyto(array, first)

    def outcome(self, loss: Any, weights: Sequence[Any], biases: Sequence[Any]) -> Outcome:
        """Name the loss before the last step and the parameters after it."""
        named = {f"w{k}": weight for k, weight in enumerate(weights)}
        return {"loss": loss, **named, **{f"b{k}": bias for k, bias in enumerate(biases)}}

    def trained(self, loss: Any) -> Outcome:
        """Return the outcome of a step on the shared parameters."""
        return self.outcome(loss, self.weights, self.biases)


def _reference(problem: Training) -> Outcome:
    weights = [weight.astype(np.float64) for weight in problem.first_weights]
    biases = [bias.astype(np.float64) for bias in problem.first_biases]
    x = problem.x.astype(np.float64)
    step = step_written(
        x, problem.target, weights, biases, mlp_numpy.loss_written, mlp_numpy.updates_written
    )
    losses = [step() for _ in range(problem.verified_calls)]
    return problem.outcome(np.float64(losses[-1]), weights, biases)


def build(**options: Any) -> Training:
    """Make the batch and the parameters."""
    return Training(**options)


def _softstep(problem: Training, _: object) -> Iterator[Contender]:
    def optimiser(parameters: list[NDArray[Any]], decay: float) -> Any:
        return ss.SGD(parameters, LR, momentum=MOMENTUM, weight_decay=decay).step

    def loss_in_place(logits: NDArray[Any], target: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
        return ss.cross_entropy_with_grad(logits, target, out=logits)

    def build(make: Any) -> Call:
        arguments = problem.x, problem.target, problem.weights, problem.biases
        return Call(make(*arguments, loss_in_place, optimiser), problem.trained)

    yield Contender(OWN, BEST, "arrays reused", lambda: build(step_in_place))
    yield Contender(OWN, WRITTEN, "expressions", lambda: build(step_written))


def _roofline(problem: Training, _: object) -> Iterator[Contender]:
    """Yield the step's matrix products alone, by NumPy: loss and update come on top."""

    def build() -> Call:
        model = MLP(problem.weights, problem.biases, len(problem.x), gradients=True)
        outputs = [np.ones((len(problem.x), size), np.float32) for size in problem.sizes[1:]]
        layers = list(zip([problem.x, *outputs[:-1]], problem.weights, outputs, strict=True))
        gradients = model.weight_gradients

        def run() -> None:
            for x, weight, output in layers:
                np.matmul(x, weight, out=output)
            for (x, weight, output), gradient in zip(layers[::-1], gradients[::-1], strict=True):
                np.matmul(x.T, output, out=gradient)
                if x is not problem.x:
                    np.matmul(output, weight.T, out=x)

        inputs = problem.x.astype(np.float64)
        for weight in problem.first_weights[:-1]:
            inputs = inputs @ weight
        last = inputs.T @ (inputs @ problem.first_weights[-1])
        return Call(run, lambda _: {"last": gradients[-1]}, expected={"last": last})

    yield Contender(ROOFLINE, WRITTEN, "bare products", build)


CONTENDERS = {
    "roofline": _roofline,
    OWN: _softstep,
    "numpy": mlp_numpy.contenders,
    **mlp_peers.CONTENDERS,
}
