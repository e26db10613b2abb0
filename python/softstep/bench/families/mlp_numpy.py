"""The MLP's step in NumPy, with loss and update to be plugged in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softstep.bench.contender import BEST, WRITTEN, Call, Contender
from softstep.bench.families.mlp_peers import DECAY, LR, MOMENTUM
from softstep.training.network import MLP

Arrays = list[NDArray[Any]]
Loss = Callable[[NDArray[Any], NDArray[Any]], tuple[Any, NDArray[Any]]]
# (parameters, weight decay) -> step(gradients)
Updates = Callable[[Arrays, float], Callable[[Arrays], Any]]


def step_written(
    x: NDArray[Any],
    target: NDArray[Any],
    weights: Arrays,
    biases: Arrays,
    loss_of: Loss,
    updates: Updates,
) -> Callable[[], Any]:
    """Return the step as one writes it down: an expression for each formula."""
    update_weights, update_biases = updates(weights, DECAY), updates(biases, 0.0)

    def run() -> Any:
        activations = [x]
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            activations.append(np.maximum(activations[-1] @ weight + bias, 0))
        loss, gradient = loss_of(activations[-1] @ weights[-1] + biases[-1], target)
        weight_gradients: Arrays = []
        bias_gradients: Arrays = []
        for k in reversed(range(len(weights))):
            weight_gradients.insert(0, activations[k].T @ gradient)
            bias_gradients.insert(0, gradient.sum(axis=0))
            if k:
                gradient = (gradient @ weights[k].T) * (activations[k] > 0)
        update_weights(weight_gradients)
        update_biases(bias_gradients)
        return loss

    return run


def step_in_place(
    x: NDArray[Any],
    target: NDArray[Any],
    weights: Arrays,
    biases: Arrays,
    loss_of: Loss,
    updates: Updates,
) -> Callable[[], Any]:
    """Return the step with every array allocated before."""
    model = MLP(weights, biases, len(x), gradients=True, product=product)
    update_weights, update_biases = updates(weights, DECAY), updates(biases, 0.0)

    def run() -> Any:
        loss, gradient = loss_of(model.forward(x), target)
        model.backward(gradient)
        update_weights(model.weight_gradients)
        update_biases(model.bias_gradients)
        return loss

    return run


def product(
    out: Any, left: Any, right: Any, bias: Any = None, relu: bool = False, gate: Any = None
) -> None:
    """`softstep.training.network.product` by NumPy's BLAS, in place."""
    np.matmul(left, right, out=out)
    if bias is not None:
        out += bias
    if relu:
        np.maximum(out, 0, out=out)
    if gate is not None:
        out *= gate > 0


def loss_written(logits: NDArray[Any], target: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
    """Cross-entropy with its gradient, in new arrays."""
    rows = np.arange(len(target))
    shifted = logits - logits.max(axis=1, keepdims=True)
    exps = np.exp(shifted)
    total = exps.sum(axis=1, keepdims=True)
    loss = np.mean(np.log(total[:, 0]) - shifted[rows, target])
    gradient = exps / total
    gradient[rows, target] -= 1
    return loss, gradient / len(target)


def loss_in_place(logits: NDArray[Any], target: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
    """Cross-entropy with its gradient over the logits."""
    rows = np.arange(len(target))
    logits -= logits.max(axis=1, keepdims=True)
    chosen = logits[rows, target]
    np.exp(logits, out=logits)
    total = logits.sum(axis=1, keepdims=True)
    loss = np.mean(np.log(total[:, 0]) - chosen)
    total *= len(target)
    logits /= total
    logits[rows, target] -= logits.dtype.type(1 / len(target))
    return loss, logits


def updates_written(parameters: Arrays, decay: float) -> Callable[[Arrays], None]:
    """SGD with momentum and weight decay, in new arrays."""
    buffers: Arrays = [np.zeros_like(parameter) for parameter in parameters]

    def step(gradients: Arrays) -> None:
        for k, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
            buffers[k] = MOMENTUM * buffers[k] + gradient + decay * parameter
            parameter -= LR * buffers[k]

    return step


def updates_in_place(parameters: Arrays, decay: float) -> Callable[[Arrays], None]:
    """SGD with momentum and weight decay, without new arrays."""
    buffers = [np.zeros_like(parameter) for parameter in parameters]
    work = [np.empty_like(parameter) for parameter in parameters]

    def step(gradients: Arrays) -> None:
        for p, g, buffer, temporary in zip(parameters, gradients, buffers, work, strict=True):
            buffer *= MOMENTUM
            buffer += g
            if decay:
                np.multiply(p, decay, out=temporary)
                buffer += temporary
            np.multiply(buffer, LR, out=temporary)
            p -= temporary

    return step


def contenders(problem: Any, _: object) -> Iterator[Contender]:
    """NumPy alone."""

    def build(step: Any, loss_of: Loss, updates: Updates) -> Call:
        arguments = problem.x, problem.target, problem.weights, problem.biases
        return Call(step(*arguments, loss_of, updates), problem.trained)

    yield Contender(
        "numpy", WRITTEN, "expressions", lambda: build(step_written, loss_written, updates_written)
    )
    yield Contender(
        "numpy",
        BEST,
        "arrays reused",
        lambda: build(step_in_place, loss_in_place, updates_in_place),
    )
