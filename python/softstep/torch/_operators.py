"""Operators for torch.compile, vmap and the other transforms: `torch.ops.softstep`."""

from collections.abc import Callable
from typing import Any

import torch

from softstep.losses.options import Options, kinds
from softstep.torch import _cross_entropy_kernel as kernel
from softstep.torch import _gradient
from softstep.torch._tensors import wide_dtype

library = torch.library.Library("softstep", "DEF")


def define(name: str, schema: str, compute: Callable[..., Any], shapes: Callable[..., Any]) -> None:
    """Register an operator for CPU tensors, with a batching rule that goes over the batch."""
    library.define(name + schema)
    library.impl(name, compute, "CPU")
    torch.library.register_fake(f"softstep::{name}", shapes, lib=library)

    def batched(info: Any, in_dims: Any, *arguments: Any) -> Any:
        operator = getattr(torch.ops.softstep, name)
        results = [
            operator(
                *(
                    a if dim is None else a.select(dim, k)
                    for a, dim in zip(arguments, in_dims, strict=True)
                )
            )
            for k in range(info.batch_size)
        ]
        if isinstance(results[0], torch.Tensor):
            return torch.stack(results), 0
        stacked = tuple(torch.stack(parts) for parts in zip(*results, strict=True))
        return stacked, (0,) * len(stacked)

    torch.library.register_vmap(f"softstep::{name}", batched, lib=library)


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
    return tuple(logits.new_empty(0) if result is None else result for result in results)


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
        raise _gradient.second_derivative("cross_entropy")
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


class Transformed(torch.autograd.Function):
    """The operator for torch.func, which does not see what `register_autograd` registers."""

    generate_vmap_rule = True

    @staticmethod
    def forward(*arguments: Any) -> Any:
        """Return what the operator returns."""
        return torch.ops.softstep.cross_entropy(*arguments)

    setup_context = staticmethod(_save_gradients)
    backward = staticmethod(_backward)


transformed: Any = Transformed.apply


def _schema_of_options() -> str:
    return ", ".join(
        f"{kind.type.__name__}{'?' * kind.optional} {name}" for name, kind in kinds().items()
    )


define(
    "cross_entropy",
    "(Tensor logits, Tensor target, Tensor? target_probabilities, Tensor? weight, "
    f"Tensor? sample_weight, {_schema_of_options()}, bool grad_logits, bool grad_target) "
    "-> (Tensor, Tensor, Tensor)",
    _cross_entropy,
    _cross_entropy_shapes,
)
torch.library.register_autograd(
    "softstep::cross_entropy", _backward, setup_context=_save_gradients, lib=library
)
