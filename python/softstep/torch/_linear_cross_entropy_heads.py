"""A linear head for each position, as PyTorch's weight of more than two axes: one after another."""

from collections.abc import Callable
from math import prod
from typing import Any

import torch

from softstep.torch._composed import as_indices, check_shapes, counting, near_one
from softstep.torch._linear_cross_entropy_constants import Constants
from softstep.torch._tensors import sizes


def check_heads(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, constants: Constants
) -> None:
    """Check the shapes: hidden (N, D), weight (C, d1, ..., D), bias (C, d1, ...)."""
    rows, shape = sizes(hidden), sizes(weight)
    if len(rows) != 2 or rows[1] != shape[-1]:
        raise ValueError(
            f"input: expected shape (N, {shape[-1]}) for linear_weight of shape {shape}, got {rows}"
        )
    if bias is not None and sizes(bias) != shape[:-1]:
        raise ValueError(f"linear_bias: expected shape {shape[:-1]}, got {sizes(bias)}")
    if constants.shift:
        raise ValueError(
            "shift: expected 0 with a head for each position, whose targets are given as they are"
        )
    target, masses, class_weight, share, *_ = constants
    check_shapes((rows[0], *shape[:-1]), 1, target, masses, class_weight, share)


def over_heads(
    loss_of: Callable[..., torch.Tensor],
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    constants: Constants,
) -> torch.Tensor:
    """Return the loss of all heads; `loss_of` is that of one."""
    rows = (len(hidden), *weight.shape[1:-1])
    count = prod(rows[1:])
    options = constants.options
    whole = 1.0
    if options.reduction == "mean" and options.denominator is None:
        constants, whole, z_whole = _divided(rows, constants)
        z_loss = options.z_loss * whole / z_whole if z_whole else 0.0
        options = options._replace(denominator=whole or 1.0, z_loss=z_loss)
    target, masses, _, share = constants[:4]
    dense = masses is None and target.is_floating_point()
    # The gradient of `unbind` is one stack.
    losses = [
        loss_of(hidden, w, b, constants._replace(
            target=t, target_probabilities=q, sample_weight=s, options=options
        ))
        for w, b, t, q, s in zip(
            weight.flatten(1, -2).unbind(1),
            [None] * count if bias is None else bias.flatten(1).unbind(1),
            target.flatten(2).unbind(2) if dense else _heads(target, rows),
            [None] * count if masses is None else _heads(masses, rows),
            [None] * count if share is None else _heads(share, rows),
            strict=True,
        )
    ]  # fmt: skip
    if options.reduction == "none":
        return torch.stack(losses, 1).reshape(rows)
    loss = torch.stack(losses).sum()
    return loss + torch.nan if not whole and options.empty == "nan" else loss


def _heads(tensor: torch.Tensor, rows: tuple[int, ...]) -> Any:
    return tensor.reshape(rows[0], prod(rows[1:]), *tensor.shape[len(rows) :]).unbind(1)


def _divided(rows: tuple[int, ...], constants: Constants) -> tuple[Constants, float, float]:
    """Return weights near 1, and what a mean over all heads divides the loss by, and the z-loss."""
    target, masses, class_weight, share, options, *_ = constants
    ones = torch.ones(rows, dtype=torch.float64, device=target.device)
    kept, shares = counting(target, masses, share, options.ignore_index, ones)
    if share is not None:
        constants = constants._replace(sample_weight=near_one(share.to(ones.dtype), shares))
        shares = near_one(shares, shares)
    z_whole = whole = shares.sum().item()
    if class_weight is not None and masses is None and not target.is_floating_point():
        weights = class_weight.to(ones.dtype)
        at = weights[as_indices(target).masked_fill(~kept, 0)].masked_fill(~kept, 0)
        constants = constants._replace(class_weight=near_one(weights, at))
        whole = (near_one(at, at) * shares).sum().item()
    if not whole and options.empty == "raise":
        raise ValueError("target: the mean is over no rows (all are ignored or weightless)")
    return constants, whole, z_whole
