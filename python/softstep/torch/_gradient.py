"""Gradients that the forward has computed, times what comes from above."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from softstep.torch._tensors import is_plain

# Without it (it is not public), no gradient is scaled in place.
_keeps_graph = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", lambda: True)


def scaled(gradient: torch.Tensor, upstream: torch.Tensor, axis: int) -> torch.Tensor:
    """Return gradient * upstream, a number or one for each row; the gradient itself for ones.

    It may be overwritten, unless the graph is retained.
    """
    if upstream.ndim == 0 or not any(upstream.stride()):
        # A number, or one that was expanded. A tensor of no elements has nothing to scale.
        rows = upstream.flatten()[:1].squeeze() if upstream.ndim else upstream
        if not is_plain(rows):
            return gradient * rows
        if rows.numel() == 0 or rows.item() == 1:
            return gradient
    else:
        rows = upstream.unsqueeze(axis)
    return gradient * rows if _keeps_graph() or not is_plain(rows) else gradient.mul_(rows)


def recomputed(
    function: Callable[..., torch.Tensor],
    inputs: Sequence[torch.Tensor | None],
    constants: tuple[Any, ...],
    needed: Sequence[bool],
    upstream: torch.Tensor,
) -> list[torch.Tensor | None]:
    """Return the gradients by the inputs that autograd finds, with a graph if one is recorded."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # Of aliases: what leads from one input to another is not to be differentiated here.
        aliases = [None if tensor is None else tensor.view_as(tensor) for tensor in inputs]
        wanted: Any = [alias for alias, need in zip(aliases, needed, strict=True) if need]
        result = function(*aliases, *constants)
        found = iter(torch.autograd.grad(result, wanted, upstream, create_graph=again))
    return [next(found) if need else None for need in needed]


class NoSecondDerivative(torch.autograd.Function):
    """Passes a gradient on; raises when it is differentiated again."""

    @staticmethod
    def forward(ctx: Any, gradient: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        """Return the gradient."""
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> Any:
        """Raise."""
        raise RuntimeError(
            "softstep.torch.cross_entropy(inplace=True) has no second derivative: its gradient "
            "has overwritten the logits. Use inplace=False where create_graph=True is needed"
        )


def once(gradient: torch.Tensor | None) -> torch.Tensor | None:
    """Return the gradient such that a second derivative is an error, not 0: for create_graph."""
    if gradient is None:
        return None
    probe = torch.zeros((), requires_grad=True, device=gradient.device)
    apply: Any = NoSecondDerivative.apply
    result: torch.Tensor = apply(gradient, probe)
    return result
