"""`torch.optim.AdamW` on the native step."""

from __future__ import annotations

from typing import Any

import torch

from softstep.optim import rules
from softstep.torch._optimizer import Extensions, NativeStep


class AdamW(NativeStep, torch.optim.AdamW):
    """`torch.optim.AdamW`, one memory pass a step, for any strides and half precision.

    Parameters
    ----------
    params, lr, betas, eps, weight_decay, amsgrad, maximize
        As PyTorch's; ``lr * weight_decay`` must be below 1.
    foreach, capturable, differentiable, fused
        As PyTorch's, whose own step runs with `capturable` and `differentiable`, and for parameters
        that are not on the CPU.
    max_norm, skip_nonfinite, master, stochastic_rounding, seed
        As in `SGD`.

    Attributes
    ----------
    last_step : StepResult
        What the last step found: the norm of the gradients, and whether it was skipped.

    Notes
    -----
    As in `SGD`; the moments of half-precision parameters are float32.

    Examples
    --------
    >>> import torch
    >>> import softstep.torch as st
    >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = st.AdamW([w], lr=0.1, weight_decay=0.0)
    >>> w.square().sum().backward()
    >>> optimizer.step()
    >>> w.detach()
    tensor([0.9000, 1.9000])
    """

    _rule = rules.ADAMW

    def __init__(
        self,
        params: Any,
        lr: float | torch.Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        max_norm: float | None = None,
        skip_nonfinite: bool = False,
        master: bool = False,
        stochastic_rounding: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            maximize=maximize,
            foreach=foreach,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
        )
        self._extend(True, Extensions(max_norm, skip_nonfinite, master, stochastic_rounding, seed))
