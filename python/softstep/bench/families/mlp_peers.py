"""The MLP's step as the peers do it. Only the weights decay, as everywhere in this family."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from softstep.bench.contender import BEST, WRITTEN, Call, Contender, Contenders

LR, MOMENTUM, DECAY = 0.01, 0.9, 0.01


def _torch(problem: Any, torch: Any) -> Iterator[Contender]:
    yield Contender("torch", WRITTEN, "default SGD", lambda: _train(problem, torch))
    yield Contender("torch", BEST, "fused SGD", lambda: _train(problem, torch, fused=True))


def _compiled(problem: Any, torch: Any) -> Iterator[Contender]:
    torch._dynamo.reset()
    yield Contender(
        "torch.compile",
        WRITTEN,
        "model and loss, fused SGD",
        lambda: _train(problem, torch, fused=True, compiled=True),
    )


def _train(problem: Any, torch: Any, *, fused: bool = False, compiled: bool = False) -> Call:
    layers: list[Any] = []
    for inputs, outputs in zip(problem.sizes[:-1], problem.sizes[1:], strict=True):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    linear = layers[::2]
    weights, biases = [layer.weight for layer in linear], [layer.bias for layer in linear]
    sgd = torch.optim.SGD(
        [{"params": weights, "weight_decay": DECAY}, {"params": biases}],
        lr=LR,
        momentum=MOMENTUM,
        fused=fused or None,
    )
    x, target = torch.from_numpy(problem.x), torch.from_numpy(problem.target)
    # A Linear keeps its weight transposed.
    first_weights = [torch.from_numpy(weight.T.copy()) for weight in problem.first_weights]
    first_biases = [torch.from_numpy(bias) for bias in problem.first_biases]

    def loss_of(x: Any, target: Any) -> Any:
        return torch.nn.functional.cross_entropy(model(x), target)

    if compiled:
        loss_of = torch.compile(loss_of, dynamic=False)

    def prepare() -> None:
        with torch.no_grad():
            for parameter, first in zip(
                [*weights, *biases], [*first_weights, *first_biases], strict=True
            ):
                parameter.copy_(first)

    def run() -> Any:
        sgd.zero_grad()
        loss = loss_of(x, target)
        loss.backward()
        sgd.step()
        return loss

    def result(loss: Any) -> Any:
        trained = [weight.detach().numpy().T for weight in weights]
        return problem.outcome(loss.item(), trained, [bias.detach().numpy() for bias in biases])

    return Call(run, result, prepare)


def _jax(problem: Any, jax: Any) -> Iterator[Contender]:
    jnp = jax.numpy
    tree = jax.tree_util.tree_map

    def loss_of(parameters: Any, x: Any, target: Any) -> Any:
        weights, biases = parameters
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            x = jnp.maximum(x @ weight + bias, 0)
        log_p = jax.nn.log_softmax(x @ weights[-1] + biases[-1])
        return -jnp.take_along_axis(log_p, target[:, None], axis=1).mean()

    def step(parameters: Any, momentum: Any, x: Any, target: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(parameters, x, target)
        decayed = tree(lambda g, w: g + DECAY * w, gradients[0], parameters[0]), gradients[1]
        momentum = tree(lambda m, g: MOMENTUM * m + g, momentum, decayed)
        return loss, tree(lambda p, m: p - LR * m, parameters, momentum), momentum

    def build(donate: bool) -> Call:
        compiled = jax.jit(step, donate_argnums=(0, 1) if donate else ())
        x = jax.dlpack.from_dlpack(problem.x)
        target = jnp.asarray(problem.target, dtype=jnp.int32)
        parameters: Any = None

        def prepare() -> None:
            nonlocal parameters
            parameters = tree(jnp.array, (problem.first_weights, problem.first_biases))

        prepare()
        momentum = tree(jnp.zeros_like, parameters)

        def run() -> Any:
            nonlocal parameters, momentum
            loss, parameters, momentum = jax.block_until_ready(
                compiled(parameters, momentum, x, target)
            )
            return loss

        return Call(run, lambda loss: problem.outcome(loss, *parameters), prepare)

    yield Contender("jax", WRITTEN, "step", lambda: build(False))
    yield Contender("jax", BEST, "step, donated", lambda: build(True))


def _sklearn(problem: Any, _: object) -> Iterator[Contender]:
    def build() -> Call:
        network = importlib.import_module("sklearn.neural_network")
        model = network.MLPClassifier(
            problem.sizes[1:-1],
            solver="sgd",
            # Its penalty is alpha / 2 of the sum of squares, divided by the batch's rows.
            alpha=DECAY * len(problem.x),
            batch_size=len(problem.x),
            learning_rate_init=LR,
            momentum=MOMENTUM,
            nesterovs_momentum=False,
            shuffle=False,
        )
        classes = np.arange(problem.sizes[-1])
        # The first call makes the arrays; they are then given the problem's values.
        model.partial_fit(problem.x, problem.target, classes=classes)
        for velocity in model._optimizer.velocities:  # noqa: SLF001
            velocity.fill(0)

        def prepare() -> None:
            for arrays, first in (
                (model.coefs_, problem.first_weights),
                (model.intercepts_, problem.first_biases),
            ):
                for array, values in zip(arrays, first, strict=True):
                    np.copyto(array, values)

        def run() -> Any:
            return model.partial_fit(problem.x, problem.target)

        # The loss that it reports includes the penalty: the trained parameters are compared.
        expected = {name: value for name, value in problem.expected.items() if name != "loss"}

        def result(_: Any) -> Any:
            return problem.outcome(None, model.coefs_, model.intercepts_)

        return Call(run, result, prepare, expected)

    yield Contender("sklearn", WRITTEN, "MLPClassifier.partial_fit", build)


CONTENDERS: dict[str, Contenders] = {
    "sklearn": _sklearn,
    "torch": _torch,
    "torch.compile": _compiled,
    "jax": _jax,
}
