"""The steps of SGD and AdamW by PyTorch, JAX and optax."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

from softstep.bench.arrays import tensor_view
from softstep.bench.contender import BEST, WRITTEN, Call, Contender, Contenders
from softstep.bench.families.optimizer_problem import BETAS, DECAY, EPS, LR, MOMENTUM, Update

# torch.compile makes one kernel for all tensors: minutes of compilation for hundreds.
MOST_COMPILED_TENSORS = 8
# PyTorch sums squares in float32: the norm of 25 M elements is 0.14 % off, and so is every step.
NORM_TOLERANCE = 1e-3


def _torch(problem: Update, torch: Any) -> Iterator[Contender]:
    def build(**keywords: bool) -> Callable[[], Call]:
        return lambda: _torch_call(problem, torch, **keywords)

    yield Contender("torch", WRITTEN, "default", build())
    yield Contender("torch", BEST, "foreach=True", build(foreach=True))
    yield Contender("torch", BEST, "fused=True", build(fused=True))
    if problem.whole:
        # What zero_grad() does if it is not told otherwise; backward then allocates them again.
        dropped = build(fused=True, drop=True)
        yield Contender("torch", BEST, "fused=True, gradients dropped", dropped)


def _compiled(problem: Update, torch: Any) -> Iterator[Contender]:
    torch._dynamo.reset()
    if len(problem.parameters) <= MOST_COMPILED_TENSORS and not (problem.whole or problem.half):
        yield Contender(
            "torch.compile", WRITTEN, "step", lambda: _torch_call(problem, torch, compiled=True)
        )


def _torch_call(
    problem: Update,
    torch: Any,
    *,
    drop: bool = False,
    compiled: bool = False,
    **keywords: bool,
) -> Call:
    tensors = [tensor_view(p, torch).requires_grad_() for p in problem.parameters]
    gradients = [tensor_view(g, torch) for g in problem.gradients]
    rule = getattr(torch.optim, problem.rule)
    own: dict[str, Any] = {"betas": BETAS, "eps": EPS}
    if problem.rule == "SGD":
        own = {"momentum": MOMENTUM}
    optimizer = rule(tensors, lr=LR, weight_decay=DECAY, **own, **keywords)
    step = torch.compile(optimizer.step, dynamic=False) if compiled else optimizer.step

    def attach() -> None:
        for tensor, gradient in zip(tensors, gradients, strict=True):
            tensor.grad = gradient

    def whole() -> None:
        if drop:
            attach()
        torch.nn.utils.clip_grad_norm_(tensors, problem.max_norm)
        step()
        optimizer.zero_grad(set_to_none=drop)

    attach()
    return Call(
        whole if problem.whole else step,
        lambda _: problem.in_place(),
        # Clipped gradients that are not zeroed are those of the second call: one tells enough.
        expected=problem.after(0.5) if drop else None,
        verified_calls=1 if drop else None,
        tolerance=max(problem.tolerance, NORM_TOLERANCE) if problem.whole else None,
    )


def _jax_call(problem: Update, jax: Any, step: Any, start: Any, donate: bool) -> Call:
    """Chain ``step(parameters, state, gradients)``: JAX updates nothing in place."""
    step = jax.jit(step, donate_argnums=(0, 1) if donate else ())
    parameters = [jax.numpy.array(p) for p in problem.first]
    gradients = [jax.numpy.array(g) for g in problem.first_gradients]
    state = start(parameters)

    def run() -> Any:
        nonlocal parameters, state
        parameters, state = jax.block_until_ready(step(parameters, state, gradients))
        return parameters

    return Call(
        run,
        problem.outcome,
        # Gradients are new arrays at each step: there is nothing to zero.
        expected=problem.after(0.5, 0.5) if problem.whole else None,
    )


def _jax(problem: Update, jax: Any) -> Iterator[Contender]:
    if problem.rule != "SGD" or problem.whole:
        return
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


def _optax(problem: Update, optax: Any) -> Iterator[Contender]:
    jax = importlib.import_module("jax")
    rules = [optax.clip_by_global_norm(problem.max_norm)] if problem.whole else []
    if problem.rule == "SGD":
        rules += [optax.add_decayed_weights(DECAY), optax.sgd(LR, momentum=MOMENTUM)]
    else:
        rules += [optax.adamw(LR, *BETAS, eps=EPS, weight_decay=DECAY)]
    rule, name = optax.chain(*rules), problem.rule.lower()

    def step(parameters: Any, state: Any, gradients: Any) -> Any:
        updates, state = rule.update(gradients, state, parameters)
        return optax.apply_updates(parameters, updates), state

    yield Contender("optax", WRITTEN, name, lambda: _jax_call(problem, jax, step, rule.init, False))
    yield Contender(
        "optax", BEST, f"{name}, donated", lambda: _jax_call(problem, jax, step, rule.init, True)
    )


CONTENDERS: dict[str, Contenders] = {
    "torch": _torch,
    "torch.compile": _compiled,
    "jax": _jax,
    "optax": _optax,
}
