"""`torch.optim.SGD` on the native step."""

from __future__ import annotations

from typing import Any

import torch

from softstep.optim import rules
from softstep.torch._optimizer import Extensions, NativeStep


class SGD(NativeStep, torch.optim.SGD):
    """`torch.optim.SGD`, one memory pass a step, for any strides and half precision.

    Parameters
    ----------
    params, lr, momentum, dampening, weight_decay, nesterov, maximize
        As PyTorch's; ``lr * weight_decay`` must be below 1.
    foreach, differentiable, fused
        As PyTorch's, for parameters that are not on the CPU, for sparse gradients and with
        `differentiable`, which its own step updates.
    decoupled : bool
        Decay the parameter, not the gradient; an option of groups.
    max_norm : float, optional
        Clip the gradients to this norm, as `torch.nn.utils.clip_grad_norm_`, but leave them alone.
    skip_nonfinite : bool
        Change nothing if a gradient is not finite.
    master : bool
        Update float32 copies of half-precision parameters.
    stochastic_rounding : bool
        Round half-precision parameters up or down by chance, so that small steps count.
    seed : int
        Of the stochastic rounding.

    Attributes
    ----------
    last_step : StepResult
        What the last step found: the norm of the gradients, and whether it was skipped.

    Notes
    -----
    Half precision is computed in float32, and so is its momentum. Loss scales (`GradScaler`) are
    divided out in the step; unlike PyTorch's fused step, this does not change the gradients. The
    state is PyTorch's: both load each other's `state_dict`. Of parameters that are divided among
    processes (`DTensor`) the local part is stepped, and `max_norm` is about all parts.

    Examples
    --------
    >>> import torch
    >>> import softstep.torch as st
    >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = st.SGD([w], lr=0.1, momentum=0.9)
    >>> w.square().sum().backward()
    >>> optimizer.step()
    >>> w.detach()
    tensor([0.8000, 1.6000])
    """

    _rule = rules.SGD

    def __init__(
        self,
        params: Any,
        lr: float | torch.Tensor = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled: bool = False,
        max_norm: float | None = None,
        skip_nonfinite: bool = False,
        master: bool = False,
        stochastic_rounding: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
            maximize=maximize,
            foreach=foreach,
            differentiable=differentiable,
            fused=fused,
        )
        self._extend(
            decoupled, Extensions(max_norm, skip_nonfinite, master, stochastic_rounding, seed)
        )
