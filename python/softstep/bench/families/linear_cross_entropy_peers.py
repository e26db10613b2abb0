"""The peers' large-vocabulary heads: whole logits, and in chunks where the peer has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from softstep.bench.contender import BEST, WRITTEN, Call, Contender, Contenders

called = partial(Call, measures_memory=True)


def _numpy(problem: Any, _: object) -> Iterator[Contender]:
    hidden, weight, target = problem.hidden, problem.weight, problem.target
    rows = len(hidden)
    every = np.arange(rows)

    def written() -> Any:
        logits = hidden @ weight.T
        logits = logits - logits.max(axis=1, keepdims=True)
        exps = np.exp(logits)
        total = exps.sum(axis=1, keepdims=True)
        loss = np.mean(np.log(total[:, 0]) - logits[every, target])
        gradient = exps / total
        gradient[every, target] -= 1
        gradient = gradient / rows
        return loss, gradient @ weight, gradient.T @ hidden

    def in_place() -> Call:
        x = np.empty((rows, len(weight)), np.float32)

        def run() -> Any:
            np.matmul(hidden, weight.T, out=x)
            np.subtract(x, x.max(axis=1, keepdims=True), out=x)
            chosen = x[every, target]
            np.exp(x, out=x)
            total = x.sum(axis=1, keepdims=True)
            loss = np.mean(np.log(total[:, 0]) - chosen)
            np.divide(x, total * np.float32(rows), out=x)
            x[every, target] -= np.float32(1 / rows)
            np.matmul(x, weight, out=problem.dhidden)
            np.matmul(x.T, hidden, out=problem.dweight)
            return loss, problem.dhidden, problem.dweight

        return called(run, problem.outcome)

    yield Contender("numpy", WRITTEN, "new arrays", lambda: called(written, problem.outcome))
    yield Contender("numpy", BEST, "in place", in_place)


def _torch(problem: Any, torch: Any) -> Iterator[Contender]:
    functional = torch.nn.functional

    def dense(hidden: Any, weight: Any, target: Any) -> Any:
        return functional.cross_entropy(functional.linear(hidden, weight), target)

    yield Contender(
        "torch", WRITTEN, "F.linear, F.cross_entropy", lambda: _autograd(problem, dense, torch)
    )
    yield Contender("torch", BEST, "by hand, in place", lambda: _by_hand(problem, torch))
    # PyTorch 2.13 and later.
    fused = getattr(functional, "linear_cross_entropy", None)
    if fused is None:
        return
    options = torch.nn.LinearCrossEntropyOptions()
    yield Contender(
        "torch", WRITTEN, "F.linear_cross_entropy", lambda: _autograd(problem, fused, torch)
    )
    yield Contender(
        "torch",
        WRITTEN,
        "F.linear_cross_entropy, chunked",
        lambda: _autograd(problem, lambda *a: fused(*a, options=options), torch),
    )


def _compiled(problem: Any, torch: Any) -> Iterator[Contender]:
    functional = torch.nn.functional
    # Another case's graphs would make it try shapes that are not fixed.
    torch._dynamo.reset()

    def dense(hidden: Any, weight: Any, target: Any) -> Any:
        return functional.cross_entropy(functional.linear(hidden, weight), target)

    def build() -> Call:
        call = _autograd(problem, torch.compile(dense, dynamic=False), torch)
        # Compiles: its memory is not the step's.
        call.run()
        return call

    yield Contender("torch.compile", WRITTEN, "F.linear, F.cross_entropy", build)


def _autograd(problem: Any, loss_of: Callable[..., Any], torch: Any) -> Call:
    hidden = torch.from_numpy(problem.hidden).requires_grad_()
    weight = torch.from_numpy(problem.weight).requires_grad_()
    target = torch.from_numpy(problem.target)

    def run() -> Any:
        hidden.grad = weight.grad = None
        loss = loss_of(hidden, weight, target)
        loss.backward()
        return loss

    return called(
        run, lambda loss: problem.outcome((loss.item(), hidden.grad.numpy(), weight.grad.numpy()))
    )


def _by_hand(problem: Any, torch: Any) -> Call:
    """Eager, every operation into memory that is there."""
    hidden, weight, target, dhidden, dweight = (
        torch.from_numpy(array)
        for array in (
            problem.hidden,
            problem.weight,
            problem.target[:, None],
            problem.dhidden,
            problem.dweight,
        )
    )
    rows = len(hidden)
    x = torch.empty(rows, len(weight))
    decrement = torch.full(target.shape, -1 / rows)

    def run() -> Any:
        with torch.no_grad():
            torch.mm(hidden, weight.T, out=x)
            torch.softmax(x, 1, out=x)
            loss = -x.gather(1, target).log().mean()
            x.mul_(1 / rows).scatter_add_(1, target, decrement)
            torch.mm(x, weight, out=dhidden)
            torch.mm(x.T, hidden, out=dweight)
            return loss

    return called(
        run, lambda loss: problem.outcome((loss.item(), dhidden.numpy(), dweight.numpy()))
    )


def _jax(problem: Any, jax: Any) -> Iterator[Contender]:
    jnp = jax.numpy

    def loss_of(hidden: Any, weight: Any, target: Any) -> Any:
        log_p = jax.nn.log_softmax(hidden @ weight.T)
        return -jnp.take_along_axis(log_p, target[:, None], axis=1).mean()

    def build() -> Call:
        step = jax.jit(jax.value_and_grad(loss_of, argnums=(0, 1)))
        hidden, weight = (jax.dlpack.from_dlpack(a) for a in (problem.hidden, problem.weight))
        target = jnp.asarray(problem.target, dtype=jnp.int32)

        def run() -> Any:
            loss, gradients = jax.block_until_ready(step(hidden, weight, target))
            return loss, *gradients

        # Compiles: its memory is not the step's.
        run()
        return called(run, problem.outcome)

    yield Contender("jax", WRITTEN, "value_and_grad", build)


CONTENDERS: dict[str, Contenders] = {
    "numpy": _numpy,
    "torch": _torch,
    "torch.compile": _compiled,
    "jax": _jax,
}
