"""The cross-entropy kernel on CPU tensors: eager autograd, and the operator for the tracers."""

from typing import Any

import numpy as np
import torch

import softstep._core as _core
from softstep.losses.options import Options
from softstep.torch import _composed, _gradient
from softstep.torch._tensors import of_array, view


def class_axis(logits: torch.Tensor) -> int:
    """Return PyTorch's class axis."""
    return 0 if logits.ndim == 1 else 1


def evaluate(
    logits: torch.Tensor,
    target: torch.Tensor,
    probabilities: torch.Tensor | None,
    weight: torch.Tensor | None,
    sample_weight: torch.Tensor | None,
    options: Options,
    grad_logits: bool,
    grad_target: bool,
    inplace: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Return (loss, dlogits, dtarget) as far as they are asked for; called without autograd."""
    dtype = logits.dtype
    if dtype is torch.float16 and grad_logits and not inplace:
        # A loss scale comes with the backward, too late for what float16 has rounded to 0.
        logits = logits.float()
    x = view(logits)
    out = x if inplace else None
    if grad_logits and not inplace and not x.flags.c_contiguous:
        out = np.empty_like(x)  # of the logits' layout; else the kernel allocates, in huge pages
    dlogits, dtarget = None, None
    if grad_target:
        dtarget = _target_gradient(logits, target, probabilities, weight, sample_weight, options)
    loss, gradient = _core.cross_entropy(
        x,
        view(target),
        axis=class_axis(logits),
        target_probabilities=None if probabilities is None else view(probabilities),
        weight=None if weight is None else view(weight),
        sample_weight=None if sample_weight is None else view(sample_weight),
        **options._asdict(),
        with_gradient=grad_logits,
        out=out,
    )
    if inplace and grad_logits:
        torch.autograd.graph.increment_version(logits)
        dlogits = logits.detach()
    elif grad_logits:
        dlogits = of_array(gradient)
    if isinstance(loss, float):
        loss = np.array(loss, np.float64 if dtype is torch.float64 else np.float32)
    return torch.from_numpy(loss), dlogits, dtarget


def _target_gradient(
    logits: torch.Tensor,
    target: torch.Tensor,
    probabilities: torch.Tensor | None,
    weight: torch.Tensor | None,
    sample_weight: torch.Tensor | None,
    options: Options,
) -> torch.Tensor:
    """Return the gradient with respect to the probabilities: `target` or `target_probabilities`."""
    axis = class_axis(logits)
    results = _core.cross_entropy(
        view(logits),
        view(target),
        axis=axis,
        target_probabilities=None if probabilities is None else view(probabilities),
        weight=None if weight is None else view(weight),
        sample_weight=None if sample_weight is None else view(sample_weight),
        **options._asdict(),
        extra=("dtarget",),
    )[2]
    dtarget = results["dtarget"]
    if probabilities is None:
        dtarget = np.ascontiguousarray(np.moveaxis(dtarget, -1, axis))
    return torch.from_numpy(dtarget).to((target if probabilities is None else probabilities).dtype)


class CrossEntropy(torch.autograd.Function):
    """The loss, with its gradients computed in the forward."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: torch.Tensor,
        target: torch.Tensor,
        probabilities: torch.Tensor | None,
        constants: tuple[torch.Tensor | None, torch.Tensor | None, Options],
        inplace: bool,
    ) -> torch.Tensor:
        """Return the loss."""
        grad_logits, grad_target, grad_probabilities = ctx.needs_input_grad[:3]
        loss, dlogits, dtarget = evaluate(
            logits,
            target,
            probabilities,
            *constants,
            grad_logits,
            grad_target or grad_probabilities,
            inplace,
        )
        if inplace:
            ctx.save_for_backward(dlogits, dtarget, None, None, None)
        else:  # for second derivatives
            ctx.save_for_backward(dlogits, dtarget, logits, target, probabilities)
        ctx.form = class_axis(logits), logits.dtype, grad_probabilities, constants
        return loss

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> Any:
        """Return the gradients times the upstream one."""
        dlogits, dtarget, *inputs = ctx.saved_tensors
        axis, dtype, sparse, constants = ctx.form
        again = torch.is_grad_enabled()
        if again and inputs[0] is not None:
            needed, composed = ctx.needs_input_grad[:3], _composed.cross_entropy
            gradients = _gradient.recomputed(composed, inputs, constants, needed, upstream)
            return *gradients, None, None
        if dlogits is not None:
            dlogits = _gradient.scaled(dlogits, upstream, axis)
            if dlogits.dtype is not dtype:
                dlogits = dlogits.to(dtype)
        if dtarget is not None:
            dtarget = _gradient.scaled(dtarget, upstream, -1 if sparse else axis)
        if again:
            dlogits, dtarget = (_gradient.once(g) for g in (dlogits, dtarget))
        targets = (None, dtarget) if sparse else (dtarget, None)
        return dlogits, *targets, None, None


# PyTorch's own apply first looks for transforms (torch.func), which do not come here.
differentiable: Any = super(torch.autograd.Function, CrossEntropy).apply
