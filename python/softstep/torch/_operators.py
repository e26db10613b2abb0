"""Operators for what traces: torch.compile, torch.export, modes; `torch.ops.softstep`."""

from collections.abc import Callable
from typing import Any

import torch

from softstep.losses.options import Options, kinds
from softstep.torch import _cross_entropy_kernel as kernel
from softstep.torch._tensors import wide_dtype

library = torch.library.Library("softstep", "DEF")


def define(name: str, schema: str, compute: Callable[..., Any], shapes: Callable[..., Any]) -> None:
    """Register an operator for CPU tensors."""
    library.define(name + schema)
    library.impl(name, compute, "CPU")
    torch.library.register_fake(f"softstep::{name}", shapes, lib=library)


def _cross_entropy(
    logits: torch.Tensor,
    target: torch.Tensor,
    probabilities: torch.Tensor | None,
    weight: torch.Tensor | None,
    sample_weight: torch.Tensor | None,
    *rest: Any,
) -> tuple[torch.Tensor, ...]:
    *options, grad_logits, grad_target = rest
    with torch.no_grad():
        results = kernel.evaluate(
            logits,
            target,
            probabilities,
            weight,
            sample_weight,
            Options(*options),
            grad_logits,
            grad_target,
        )
    return tuple(logits.new_empty(0) if result is None else result for result in results[:3])


def _cross_entropy_shapes(
    logits: torch.Tensor,
    target: torch.Tensor,
    probabilities: torch.Tensor | None,
    weight: torch.Tensor | None,
    sample_weight: torch.Tensor | None,
    *rest: Any,
) -> tuple[torch.Tensor, ...]:
    *options, grad_logits, grad_target = rest
    dtype, none = wide_dtype(logits.dtype), logits.new_empty(0)
    shape = list(logits.shape)
    shape.pop(kernel.class_axis(logits))
    loss = logits.new_empty(shape if Options(*options).reduction == "none" else (), dtype=dtype)
    wide = torch.float32 if logits.dtype is torch.float16 else logits.dtype
    dlogits = torch.empty_like(logits, dtype=wide) if grad_logits else none
    masses = target if probabilities is None else probabilities
    dtarget = masses.new_empty(masses.shape) if grad_target else logits.new_empty(0)
    return loss, dlogits, dtarget


def _save_gradients(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.set_materialize_grads(False)
    logits, ctx.sparse = inputs[0], inputs[2] is not None
    ctx.grad_logits, ctx.grad_target = inputs[-2:]
    ctx.save_for_backward(*output[1:])
    ctx.axis, ctx.dtype, ctx.count = kernel.class_axis(logits), logits.dtype, len(inputs)
    ctx.by_row = output[0].ndim > 0


def _backward(ctx: Any, upstream: Any, *second: Any) -> Any:
    if any(gradient is not None for gradient in second):
        raise RuntimeError(
            "the operator softstep::cross_entropy has no second derivative: use "
            "softstep.torch.cross_entropy, without torch.compile, where create_graph=True is needed"
        )
    dlogits, dtarget = ctx.saved_tensors
    result: list[Any] = [None] * ctx.count
    if upstream is None:
        return tuple(result)

    def times(gradient: torch.Tensor, axis: int) -> torch.Tensor:
        result: torch.Tensor = gradient * (upstream.unsqueeze(axis) if ctx.by_row else upstream)
        return result

    if ctx.grad_logits:
        result[0] = times(dlogits, ctx.axis).to(ctx.dtype)
    if ctx.grad_target:
        gradient = times(dtarget, -1 if ctx.sparse else ctx.axis).to(dtarget.dtype)
        result[2 if ctx.sparse else 1] = gradient
    return tuple(result)


def schema_of_options() -> str:
    """Return the options as they are in an operator's schema."""
    return ", ".join(
        f"{kind.type.__name__}{'?' * kind.optional} {name}" for name, kind in kinds().items()
    )


define(
    "cross_entropy",
    "(Tensor logits, Tensor target, Tensor? target_probabilities, Tensor? weight, "
    f"Tensor? sample_weight, {schema_of_options()}, bool grad_logits, bool grad_target) "
    "-> (Tensor, Tensor, Tensor)",
    _cross_entropy,
    _cross_entropy_shapes,
)
torch.library.register_autograd(
    "softstep::cross_entropy", _backward, setup_context=_save_gradients, lib=library
)
