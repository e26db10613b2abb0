"""Loss and gradient of a softmax classifier by PyTorch and JAX."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from softstep.bench.contender import BEST, WRITTEN, Call, Contender, Contenders


def _torch(problem: Any, torch: Any) -> Iterator[Contender]:
    yield Contender(
        "torch", WRITTEN, "backward()", lambda: _autograd(problem, torch, lambda loss: loss)
    )
    yield Contender("torch", BEST, "gradient by hand, in place", lambda: _by_hand(problem, torch))


def _compiled(problem: Any, torch: Any) -> Iterator[Contender]:
    # Another case's graphs would make it try shapes that are not fixed.
    torch._dynamo.reset()

    def compiler(function: Any) -> Any:
        return torch.compile(function, dynamic=False)

    yield Contender(
        "torch.compile", WRITTEN, "backward()", lambda: _autograd(problem, torch, compiler)
    )
    yield Contender(
        "torch.compile",
        BEST,
        "gradient by hand, in place",
        lambda: _fusible(problem, torch, compiler),
    )


def _autograd(problem: Any, torch: Any, transform: Callable[[Any], Any]) -> Call:
    # torch's class axis is 1: the same as ours in every case.
    x = torch.from_numpy(problem.logits).requires_grad_()
    t = torch.from_numpy(problem.target)
    loss_of = transform(torch.nn.functional.cross_entropy)

    def run() -> Any:
        x.grad = None
        loss = loss_of(x, t)
        loss.backward()
        return loss

    return Call(run, lambda loss: {"loss": loss.item(), "dlogits": x.grad.numpy()})


def _by_hand(problem: Any, torch: Any) -> Call:
    """Eager: every operation writes over the logits, so that no memory is allocated."""
    x = torch.from_numpy(problem.logits)
    index = torch.from_numpy(problem.index)
    axis, part = problem.axis, 1 / problem.rows
    decrement = torch.full(index.shape, -part, dtype=x.dtype)

    def run() -> Any:
        with torch.no_grad():
            torch.softmax(x, axis, out=x)
            loss = -x.gather(axis, index).log().mean()
            x.mul_(part).scatter_add_(axis, index, decrement)
            return loss

    return Call(run, lambda loss: {"loss": loss.item(), "dlogits": x.numpy()})


def _fusible(problem: Any, torch: Any, compiler: Callable[[Any], Any]) -> Call:
    """Compiled: an expression that becomes two loops over the logits without a temporary."""
    x = torch.from_numpy(problem.logits)
    index = torch.from_numpy(problem.index)
    classes = torch.from_numpy(problem.classes)
    axis, part = problem.axis, 1 / problem.rows

    def step(x: Any, index: Any, classes: Any) -> Any:
        lse = torch.logsumexp(x, axis, keepdim=True)
        loss = (lse - x.gather(axis, index)).mean()
        x.copy_((torch.exp(x - lse) - (classes == index).to(x.dtype)) * part)
        return loss

    step = compiler(step)

    def run() -> Any:
        with torch.no_grad():
            return step(x, index, classes)

    return Call(run, lambda loss: {"loss": loss.item(), "dlogits": x.numpy()})


def _jax(problem: Any, jax: Any) -> Iterator[Contender]:
    jnp, axis = jax.numpy, problem.axis

    def loss_of(x: Any, index: Any, classes: Any) -> Any:
        log_p = jax.nn.log_softmax(x, axis=axis)
        return -jnp.take_along_axis(log_p, index, axis=axis).mean()

    def by_hand(x: Any, index: Any, classes: Any) -> Any:
        lse = jax.nn.logsumexp(x, axis=axis, keepdims=True)
        loss = (lse - jnp.take_along_axis(x, index, axis=axis)).mean()
        return loss, (jnp.exp(x - lse) - (classes == index)) / problem.rows

    def build(function: Any, donate: bool) -> Call:
        step = jax.jit(function, donate_argnums=0 if donate else ())
        index, classes = (jnp.asarray(a, dtype=jnp.int32) for a in (problem.index, problem.classes))
        x = jax.dlpack.from_dlpack(problem.logits)

        def copy() -> None:
            # A donated array is gone after the call: its memory holds the gradient.
            nonlocal x
            x = jax.block_until_ready(jnp.array(problem.first))

        def donated() -> Any:
            nonlocal x
            loss, x = jax.block_until_ready(step(x, index, classes))
            return loss, x

        if donate:
            return Call(donated, problem.outcome, copy)
        return Call(lambda: jax.block_until_ready(step(x, index, classes)), problem.outcome)

    gradient = jax.value_and_grad(loss_of)
    yield Contender("jax", WRITTEN, "value_and_grad", lambda: build(gradient, False))
    yield Contender("jax", BEST, "value_and_grad, donated", lambda: build(gradient, True))
    yield Contender("jax", BEST, "gradient by hand, donated", lambda: build(by_hand, True))


CONTENDERS: dict[str, Contenders] = {"torch": _torch, "torch.compile": _compiled, "jax": _jax}
