"""Gradients that the forward has computed, times what comes from above."""

from typing import Any

import torch

# Without it (it is not public), no gradient is scaled in place.
_keeps_graph = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", lambda: True)


def scaled(gradient: torch.Tensor, upstream: torch.Tensor, axis: int) -> torch.Tensor:
    """Return gradient * upstream, a number or one for each row; the gradient itself for ones.

    It may be overwritten, unless the graph is retained.
    """
    if upstream.ndim == 0 or not any(upstream.stride()):
        # A number, or one that was expanded. A tensor of no elements has nothing to scale.
        rows = upstream.flatten()[:1].squeeze() if upstream.ndim else upstream
        if rows.numel() == 0 or rows.item() == 1:
            return gradient
    else:
        rows = upstream.unsqueeze(axis)
    return gradient * rows if _keeps_graph() else gradient.mul_(rows)


class NoSecondDerivative(torch.autograd.Function):
    """Passes a gradient on; raises when it is differentiated again."""

    @staticmethod
    def forward(ctx: Any, gradient: torch.Tensor, name: str, _: torch.Tensor) -> torch.Tensor:
        """Return the gradient."""
        ctx.name = name
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> Any:
        """Raise."""
        raise second_derivative(ctx.name)


def once(gradient: torch.Tensor | None, name: str) -> torch.Tensor | None:
    """Return the gradient such that a second derivative is an error, not 0: for create_graph."""
    if gradient is None:
        return None
    probe = torch.zeros((), requires_grad=True, device=gradient.device)
    apply: Any = NoSecondDerivative.apply
    result: torch.Tensor = apply(gradient, name, probe)
    return result


def second_derivative(name: str) -> RuntimeError:
    """Return the error."""
    return RuntimeError(
        f"softstep.torch.{name} has no second derivative: its gradient is computed in the forward. "
        f"Use torch.nn.functional.{name} where create_graph=True is needed"
    )
