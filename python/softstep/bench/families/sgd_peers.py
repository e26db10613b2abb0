"""The peers' SGD steps with momentum and weight decay."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from softstep.bench.contender import BEST, WRITTEN, Call, Contender, Contenders

LR, MOMENTUM, DECAY = 0.01, 0.9, 0.01
# torch.compile makes one kernel for all tensors: minutes of compilation for hundreds.
MOST_COMPILED_TENSORS = 8


def _numpy(problem: Any, _: object) -> Iterator[Contender]:
    tensors = list(zip(problem.parameters, problem.gradients, strict=True))

    def written() -> Call:
        buffers = [np.zeros_like(p) for p in problem.parameters]

        def run() -> None:
            for k, (p, g) in enumerate(tensors):
                buffers[k] = MOMENTUM * buffers[k] + g + DECAY * p
                p -= LR * buffers[k]

        return Call(run, lambda _: problem.outcome(problem.parameters))

    def in_place() -> Call:
        buffers = [np.zeros_like(p) for p in problem.parameters]
        scratch = np.zeros(max(p.size for p in problem.parameters), np.float32)
        work = [scratch[: p.size].reshape(p.shape) for p in problem.parameters]

        def run() -> None:
            for (p, g), buffer, temporary in zip(tensors, buffers, work, strict=True):
                np.multiply(p, DECAY, out=temporary)
                temporary += g
                buffer *= MOMENTUM
                buffer += temporary
                np.multiply(buffer, LR, out=temporary)
                p -= temporary

        return Call(run, lambda _: problem.outcome(problem.parameters))

    yield Contender("numpy", WRITTEN, "expressions", written)
    yield Contender("numpy", BEST, "in place", in_place)


def _torch(problem: Any, torch: Any) -> Iterator[Contender]:
    yield Contender("torch", WRITTEN, "default", lambda: _sgd(problem, torch))
    yield Contender("torch", BEST, "foreach=True", lambda: _sgd(problem, torch, foreach=True))
    yield Contender("torch", BEST, "fused=True", lambda: _sgd(problem, torch, fused=True))


def _compiled(problem: Any, torch: Any) -> Iterator[Contender]:
    torch._dynamo.reset()
    if len(problem.parameters) <= MOST_COMPILED_TENSORS:
        yield Contender(
            "torch.compile", WRITTEN, "step", lambda: _sgd(problem, torch, compiled=True)
        )


def _sgd(problem: Any, torch: Any, *, compiled: bool = False, **keywords: bool) -> Call:
    parameters = []
    for p, g in zip(problem.parameters, problem.gradients, strict=True):
        parameter = torch.from_numpy(p).requires_grad_()
        parameter.grad = torch.from_numpy(g)
        parameters.append(parameter)
    sgd = torch.optim.SGD(parameters, lr=LR, momentum=MOMENTUM, weight_decay=DECAY, **keywords)
    step = sgd.step
    if compiled:
        step = torch.compile(step, dynamic=False)
    return Call(step, lambda _: problem.outcome(problem.parameters))


def _jax_call(problem: Any, jax: Any, step: Any, start: Any, donate: bool) -> Call:
    """Chain ``step(parameters, state, gradients)``: JAX updates nothing in place."""
    step = jax.jit(step, donate_argnums=(0, 1) if donate else ())
    parameters = [jax.numpy.array(p) for p in problem.first]
    gradients = [jax.dlpack.from_dlpack(g) for g in problem.gradients]
    state = start(parameters)

    def run() -> Any:
        nonlocal parameters, state
        parameters, state = jax.block_until_ready(step(parameters, state, gradients))
        return parameters

    return Call(run, problem.outcome)


def _jax(problem: Any, jax: Any) -> Iterator[Contender]:
    tree = jax.tree_util.tree_map

    def step(parameters: Any, momentum: Any, gradients: Any) -> Any:
        momentum = tree(
            lambda m, g, p: MOMENTUM * m + g + DECAY * p, momentum, gradients, parameters
        )
        return tree(lambda p, m: p - LR * m, parameters, momentum), momentum

    def zeros(parameters: Any) -> Any:
        return tree(jax.numpy.zeros_like, parameters)

    yield Contender("jax", WRITTEN, "tree_map", lambda: _jax_call(problem, jax, step, zeros, False))
    yield Contender(
        "jax", BEST, "tree_map, donated", lambda: _jax_call(problem, jax, step, zeros, True)
    )


def _optax(problem: Any, optax: Any) -> Iterator[Contender]:
    jax = importlib.import_module("jax")
    rule = optax.chain(optax.add_decayed_weights(DECAY), optax.sgd(LR, momentum=MOMENTUM))

    def step(parameters: Any, state: Any, gradients: Any) -> Any:
        updates, state = rule.update(gradients, state, parameters)
        return optax.apply_updates(parameters, updates), state

    yield Contender(
        "optax", WRITTEN, "sgd", lambda: _jax_call(problem, jax, step, rule.init, False)
    )
    yield Contender(
        "optax", BEST, "sgd, donated", lambda: _jax_call(problem, jax, step, rule.init, True)
    )


CONTENDERS: dict[str, Contenders] = {
    "numpy": _numpy,
    "torch": _torch,
    "torch.compile": _compiled,
    "jax": _jax,
    "optax": _optax,
}
