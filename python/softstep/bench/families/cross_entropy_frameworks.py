"""Loss and gradient of a softmax classifier by PyTorch and JAX."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from softstep.bench.arrays import is_half, tensor_view
from softstep.bench.contender import BEST, WRITTEN, Call, Contender, Contenders

# Errors of arithmetic that is half precision throughout, in units of its eps.
COARSE = 16


def _torch(problem: Any, torch: Any) -> Iterator[Contender]:
    yield from _by_autograd("torch", problem, torch, lambda loss: loss)
    by_hand = _by_hand_half if is_half(problem.logits) else _by_hand
    yield Contender("torch", BEST, "gradient by hand, in place", lambda: by_hand(problem, torch))


def _compiled(problem: Any, torch: Any) -> Iterator[Contender]:
    # Another case's graphs would make it try shapes that are not fixed.
    torch._dynamo.reset()

    def compiler(function: Any) -> Any:
        return torch.compile(function, dynamic=False)

    yield from _by_autograd("torch.compile", problem, torch, compiler)
    yield Contender(
        "torch.compile",
        BEST,
        "gradient by hand, in place",
        lambda: _fusible(problem, torch, compiler),
    )


def _numpy(tensor: Any) -> Any:
    return (tensor.float() if tensor.element_size() == 2 else tensor).numpy()


def _by_autograd(
    peer: str, problem: Any, torch: Any, transform: Callable[[Any], Any]
) -> Iterator[Contender]:
    yield Contender(
        peer, WRITTEN, "backward()", lambda: _autograd(problem, torch, transform, False)
    )
    if is_half(problem.logits):
        # What autocast does, and whoever needs the digits.
        yield Contender(
            peer,
            WRITTEN,
            "logits.float(), backward()",
            lambda: _autograd(problem, torch, transform, True),
        )


def _autograd(problem: Any, torch: Any, transform: Callable[[Any], Any], widen: bool) -> Call:
    # torch's class axis is 1: the same as ours in every case.
    x = tensor_view(problem.logits, torch).requires_grad_()
    t = torch.from_numpy(problem.target)

    def loss_in(x: Any, t: Any) -> Any:
        x = x.float() if widen else x
        return torch.nn.functional.cross_entropy(x, t, reduction=problem.reduction)

    loss_of = transform(loss_in)

    def run() -> Any:
        x.grad = None
        loss = loss_of(x, t)
        loss.backward()
        return loss

    coarse = is_half(problem.logits) and not widen
    return Call(
        run,
        lambda loss: {"loss": loss.item(), "dlogits": _numpy(x.grad)},
        tolerance=COARSE * torch.finfo(x.dtype).eps if coarse else None,
    )


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


def _by_hand_half(problem: Any, torch: Any) -> Call:
    """As `_by_hand`; the loss from the largest p of a row, as the target's may have vanished."""
    x = tensor_view(problem.logits, torch)
    index = torch.from_numpy(problem.index)
    axis = problem.axis
    decrement = torch.full(index.shape, -1, dtype=x.dtype)

    def run() -> Any:
        with torch.no_grad():
            below_top = x.amax(axis, keepdim=True).float() - x.gather(axis, index).float()
            torch.softmax(x, axis, out=x)
            loss = (below_top - x.amax(axis, keepdim=True).float().log()).sum()
            x.scatter_add_(axis, index, decrement)
            return loss

    return Call(
        run,
        lambda loss: {"loss": loss.item(), "dlogits": _numpy(x)},
        tolerance=COARSE * torch.finfo(x.dtype).eps,
    )


def _fusible(problem: Any, torch: Any, compiler: Callable[[Any], Any]) -> Call:
    """Compiled: an expression that becomes two loops over the logits without a temporary."""
    x = tensor_view(problem.logits, torch)
    index = torch.from_numpy(problem.index)
    classes = torch.from_numpy(problem.classes)
    axis, divisor, part = problem.axis, problem.divisor, 1 / problem.divisor
    wide = torch.float32 if is_half(problem.logits) else x.dtype

    def step(x: Any, index: Any, classes: Any) -> Any:
        z = x.to(wide)
        lse = torch.logsumexp(z, axis, keepdim=True)
        loss = (lse - z.gather(axis, index)).sum() / divisor
        x.copy_((torch.exp(z - lse) - (classes == index).to(wide)) * part)
        return loss

    step = compiler(step)

    def run() -> Any:
        with torch.no_grad():
            return step(x, index, classes)

    return Call(run, lambda loss: {"loss": loss.item(), "dlogits": _numpy(x)})


def _jax(problem: Any, jax: Any) -> Iterator[Contender]:
    jnp, axis, half = jax.numpy, problem.axis, is_half(problem.logits)
    # XLA converts in the loops: half precision is read and written, and float32 in between.
    wide = jnp.float32 if half else problem.logits.dtype
    views = problem.logits.dtype.name != "bfloat16"

    def loss_of(x: Any, index: Any, classes: Any) -> Any:
        log_p = jax.nn.log_softmax(x.astype(wide), axis=axis)
        return -jnp.take_along_axis(log_p, index, axis=axis).sum() / problem.divisor

    def by_hand(x: Any, index: Any, classes: Any) -> Any:
        z = x.astype(wide)
        lse = jax.nn.logsumexp(z, axis=axis, keepdims=True)
        loss = (lse - jnp.take_along_axis(z, index, axis=axis)).sum() / problem.divisor
        gradient = (jnp.exp(z - lse) - (classes == index)) / problem.divisor
        return loss, gradient.astype(x.dtype)

    def build(function: Any, donate: bool) -> Call:
        step = jax.jit(function, donate_argnums=0 if donate else ())
        index, classes = (jnp.asarray(a, dtype=jnp.int32) for a in (problem.index, problem.classes))
        x = jax.dlpack.from_dlpack(problem.logits) if views else None

        def copy() -> None:
            # A donated array is gone after the call: its memory holds the gradient. And NumPy
            # exports no view of bfloat16.
            nonlocal x
            x = jax.block_until_ready(jnp.array(problem.first))

        def donated() -> Any:
            nonlocal x
            loss, x = jax.block_until_ready(step(x, index, classes))
            return loss, x

        if donate:
            return Call(donated, problem.outcome, copy)
        run = lambda: jax.block_until_ready(step(x, index, classes))  # noqa: E731
        return Call(run, problem.outcome, (lambda: None) if views else copy)

    gradient = jax.value_and_grad(loss_of)
    yield Contender("jax", WRITTEN, "value_and_grad", lambda: build(gradient, False))
    yield Contender("jax", BEST, "value_and_grad, donated", lambda: build(gradient, True))
    yield Contender("jax", BEST, "gradient by hand, donated", lambda: build(by_hand, True))


CONTENDERS: dict[str, Contenders] = {"torch": _torch, "torch.compile": _compiled, "jax": _jax}
