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
    grad_temperature: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
    """Return (loss, dlogits, dtarget, dtemperature), as far as they are asked for.

    The last is of each row, or of the reduced loss. Called without autograd.
    """
    dtype = logits.dtype
    if dtype is torch.float16 and grad_logits and not inplace:
        # A loss scale comes with the backward, too late for what float16 has rounded to 0.
        logits = logits.float()
    x = view(logits)
    out = x if inplace else None
    if grad_logits and not inplace and not x.flags.c_contiguous:
        out = np.empty_like(x)  # of the logits' layout; else the kernel allocates, in huge pages
    dlogits, dtarget, dtemperature = None, None, None
    axis = class_axis(logits)
    extra = ("dtarget",) * grad_target + ("dtemperature",) * grad_temperature
    loss, gradient, *more = _core.cross_entropy(
        x,
        view(target, name="target"),
        axis,
        None if probabilities is None else view(probabilities, name="target_probabilities"),
        None if weight is None else view(weight, name="weight"),
        None if sample_weight is None else view(sample_weight, name="sample_weight"),
        extra or None,
        grad_logits,
        out,
        *options,
    )
    if inplace and grad_logits:
        torch.autograd.graph.increment_version(logits)
        dlogits = logits.detach()
    elif grad_logits:
        dlogits = of_array(gradient)
    if not isinstance(loss, np.ndarray):
        loss = np.array(loss, np.float64 if dtype is torch.float64 else np.float32)
    if grad_target:
        found = more[0]["dtarget"]
        if probabilities is None:
            found = np.ascontiguousarray(np.moveaxis(found, -1, axis))
        masses = target if probabilities is None else probabilities
        dtarget = torch.from_numpy(found).to(masses.dtype)
    if grad_temperature:
        rows = torch.from_numpy(np.asarray(more[0]["dtemperature"])).double() * more[1]
        dtemperature = rows if loss.ndim else rows.sum()
    return torch.from_numpy(loss), dlogits, dtarget, dtemperature


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
        temperature: torch.Tensor | None,
    ) -> torch.Tensor:
        """Return the loss; a temperature that requires grad has the value of the option."""
        grad_logits, grad_target, grad_probabilities = ctx.needs_input_grad[:3]
        loss, dlogits, dtarget, dtemperature = evaluate(
            logits,
            target,
            probabilities,
            *constants,
            grad_logits,
            grad_target or grad_probabilities,
            inplace,
            temperature is not None,
        )
        gradients = dlogits, dtarget, dtemperature
        if inplace:
            ctx.save_for_backward(*gradients, None, None, None, None)
        else:  # for second derivatives
            ctx.save_for_backward(*gradients, logits, target, probabilities, temperature)
        ctx.form = class_axis(logits), logits.dtype, grad_probabilities, constants, inplace
        return loss

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> Any:
        """Return the gradients times the upstream one."""
        dlogits, dtarget, dtemperature, *inputs = ctx.saved_tensors
        axis, dtype, sparse, constants, inplace = ctx.form
        again, needed = torch.is_grad_enabled(), ctx.needs_input_grad
        if again and not inplace:
            wanted = (*needed[:3], needed[5])
            found = _gradient.recomputed(_recomputed, inputs, constants, wanted, upstream)
            return *found[:3], None, None, found[3]
        if dlogits is not None:
            dlogits = _gradient.scaled(dlogits, upstream, axis)
            if dlogits.dtype is not dtype:
                dlogits = dlogits.to(dtype)
        if dtarget is not None:
            dtarget = _gradient.scaled(dtarget, upstream, -1 if sparse else axis)
        if dtemperature is not None:
            dtemperature = (dtemperature * upstream).sum()
        if again:
            dlogits, dtarget, dtemperature = map(_gradient.once, (dlogits, dtarget, dtemperature))
        targets = (None, dtarget) if sparse else (dtarget, None)
        return dlogits, *targets, None, None, dtemperature


def _recomputed(
    logits: torch.Tensor,
    target: torch.Tensor,
    probabilities: torch.Tensor | None,
    temperature: torch.Tensor | None,
    weight: torch.Tensor | None,
    sample_weight: torch.Tensor | None,
    options: Any,
) -> torch.Tensor:
    """Return the loss by PyTorch's operations."""
    if temperature is not None:
        options = options._replace(temperature=temperature)
    return _composed.cross_entropy(logits, target, probabilities, weight, sample_weight, options)


# PyTorch's own apply first looks for transforms (torch.func), which do not come here.
differentiable: Any = super(torch.autograd.Function, CrossEntropy).apply
