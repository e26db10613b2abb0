"""A linear layer and its cross-entropy as a module."""

from __future__ import annotations

from math import prod
from typing import Any

import torch

from softstep.losses.options import Reduction
from softstep.torch._linear_cross_entropy import EXTENSIONS, linear_cross_entropy
from softstep.torch._numbers import Number


class LinearCrossEntropyLoss(torch.nn.Module):
    """`torch.nn.LinearCrossEntropyLoss` on `linear_cross_entropy`: a linear layer and its loss.

    Parameters
    ----------
    in_features, num_classes, bias, device, dtype
        Of the layer `linear`, whose weights have PyTorch's names in the state.
    out_features : tuple of int
        Positions with a head of their own: the weight is
        `(num_classes, *out_features, in_features)`.
    reduction, weight, ignore_index, label_smoothing, options
        As PyTorch's.
    **extensions
        Options of `linear_cross_entropy`; what belongs to a batch, `target_probabilities` and
        `sample_weight`, is an argument of the call.

    Examples
    --------
    >>> import torch
    >>> import softstep.torch as st
    >>> head = st.LinearCrossEntropyLoss(8, 1000, z_loss=1e-4)
    >>> head(torch.zeros(3, 8), torch.tensor([1, 2, 3])).item() > 6.9
    True
    """

    weight: torch.Tensor | None

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: tuple[int, ...] = (),
        bias: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
        reduction: Reduction = "mean",
        weight: torch.Tensor | None = None,
        ignore_index: int | None = None,
        label_smoothing: Number = 0.0,
        options: Any = None,
        **extensions: Any,
    ) -> None:
        super().__init__()
        unknown = set(extensions) - EXTENSIONS
        if unknown:
            raise TypeError(f"LinearCrossEntropyLoss: unknown options {', '.join(sorted(unknown))}")
        self.linear = torch.nn.Linear(
            in_features,
            prod(out_features, start=num_classes),
            bias=bias,
            device=device,
            dtype=dtype,
        )
        self.register_buffer("weight", weight)
        self.heads = (num_classes, *out_features)
        options = {
            "reduction": reduction,
            "ignore_index": ignore_index,
            "label_smoothing": label_smoothing,
            **extensions,
        }
        self.options = tuple(options)
        for name, value in options.items():
            setattr(self, name, value)  # a parameter becomes the module's

    def forward(
        self,
        input: torch.Tensor,
        target: torch.Tensor,
        *,
        target_probabilities: torch.Tensor | None = None,
        sample_weight: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the loss."""
        bias = self.linear.bias
        loss: torch.Tensor = linear_cross_entropy(
            input,
            self.linear.weight.unflatten(0, self.heads),
            target,
            linear_bias=None if bias is None else bias.unflatten(0, self.heads),
            weight=self.weight,
            target_probabilities=target_probabilities,
            sample_weight=sample_weight,
            **{name: getattr(self, name) for name in self.options},
        )
        return loss
