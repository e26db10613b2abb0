"""Cross-entropy composed of PyTorch's operations, to rounding what the kernels compute.

For tensors that are not on the CPU, and for whatever only operations of PyTorch go through: forward
mode, second derivatives, torch.func, torch.jit, subclasses, options that require grad.
"""

from typing import Any

import numpy as np
import torch

import softstep._core as _core
from softstep.losses.options import Options
from softstep.torch import _composed_softmax
from softstep.torch._numbers import Number, floats, of_python
from softstep.torch._tensors import is_compiling, sizes, values_of, wide_dtype


def cross_entropy(
    logits: torch.Tensor,
    target: torch.Tensor,
    probabilities: torch.Tensor | None,
    weight: torch.Tensor | None,
    sample_weight: torch.Tensor | None,
    options: Options,
) -> torch.Tensor:
    """Return the loss."""
    options = of_python(options)
    by_class = probabilities is None and not target.is_floating_point()
    if not is_compiling():  # refuses what does not fit
        _core.cross_entropy_numbers(by_class, **floats(options))
    axis = 0 if logits.ndim == 1 else 1
    check_shapes(sizes(logits), axis, target, probabilities, weight, sample_weight)
    x = logits.to(wide_dtype(logits.dtype)).movedim(axis, -1)
    target = target.movedim(axis, -1) if target.is_floating_point() else as_indices(target)
    if sizes(x)[-1] == 0 and not target.is_floating_point():
        raise IndexError("target: expected a class, got logits without classes")
    if not target.is_floating_point():
        check_classes(target, options.ignore_index, sizes(x)[-1])
    ones = x.new_ones(sizes(x)[:-1])
    kept, share = counting(target, probabilities, sample_weight, options.ignore_index, ones)
    normalised = options.reduction == "mean" and options.denominator is None
    if normalised and sample_weight is not None:
        share = near_one(share, share)
    # What an ignored row holds must not reach any sum.
    x = x.masked_fill(~kept.unsqueeze(-1), 0)
    allowed = x != -torch.inf
    x = soft_capped(x, options.softcap)
    nll = -_composed_softmax.log_softmax(x, -1, options.temperature)
    w = torch.ones_like(nll[..., :1]) if weight is None else weight.to(x.dtype).expand_as(nll)
    if by_class or probabilities is not None:
        points = target.unsqueeze(-1) if by_class else target
        given = (points != options.ignore_index) & kept.unsqueeze(-1)
        index = points.masked_fill(~given, 0)
        mass = given.to(x.dtype)
        if probabilities is not None:
            mass = probabilities.to(x.dtype).masked_fill(~given, 0)
        at = w.expand_as(nll).gather(-1, index)
        if normalised and by_class and weight is not None:
            w, at = (near_one(a, at[..., 0].masked_fill(~kept, 0)) for a in (w, at))
        own = _dot(mass * at, _focused(nll.gather(-1, index), options.gamma))
    else:
        index, at = target.new_zeros((*target.shape[:-1], 0), dtype=torch.long), w
        own = _dot(target.to(x.dtype).masked_fill(~kept.unsqueeze(-1), 0) * w, nll)
    eps = options.label_smoothing
    loss = own
    if _given(eps):
        spread = torch.ones_like(nll)
        if options.smoothing == "allowed":
            spread = allowed.to(x.dtype)
        elif options.smoothing == "exclude_target":
            spread = spread.scatter(-1, index, 0.0)
        spread = spread / spread.sum(-1, keepdim=True).clamp(min=1)
        loss = eps * _dot(spread * w, nll)
        if isinstance(eps, torch.Tensor) or eps != 1:
            loss = loss + (1 - eps) * own
    loss, z = share * loss.masked_fill(~kept, 0), torch.zeros_like(share)
    if _given(options.z_loss):
        lse = _composed_softmax.logsumexp(x, -1, options.temperature)
        z = share * (options.z_loss * lse.square()).masked_fill(~kept, 0)
    if options.reduction == "none":
        return loss + z
    if options.reduction == "sum":
        return (loss + z).sum()
    return _mean(loss, z, share, at[..., 0] if by_class and weight is not None else None, options)


def soft_capped(x: torch.Tensor, softcap: Number | None) -> torch.Tensor:
    """Return bounded logits; what is -inf stays so, with the derivative of the cap, 0."""
    if softcap is None:
        return x
    masked = torch.zeros_like(x).masked_fill(x == -torch.inf, -torch.inf)
    return softcap * torch.tanh(_composed_softmax.over(x, softcap)) + masked


def as_indices(target: torch.Tensor) -> torch.Tensor:
    """Return class targets as int64; of uint64 what is beyond it stays no class."""
    indices = target.long()
    if target.dtype is torch.uint64:
        indices = indices.masked_fill(indices < 0, torch.iinfo(torch.int64).max)
    return indices


def check_classes(target: torch.Tensor, ignore_index: int, classes: int) -> None:
    """Refuse labels that are no class in the kernels' words, if their values are in reach."""
    labels = values_of(target)
    if labels is not None:
        _core.CrossEntropyCall.of_chunks(
            (*labels.shape, classes),
            np.dtype(np.float32),
            labels,
            target_probabilities=None,
            class_weight=None,
            sample_weight=None,
            ignore_index=ignore_index,
        )


def counting(
    target: torch.Tensor,
    probabilities: torch.Tensor | None,
    sample_weight: torch.Tensor | None,
    ignore_index: int,
    ones: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return which rows count, and how much, in the dtype of `ones`, one for each row."""
    share = ones if sample_weight is None else sample_weight.to(ones.dtype)
    kept = share != 0
    if not target.is_floating_point():
        target = as_indices(target)
        counts = target != ignore_index
        kept = kept & (counts if probabilities is None else counts.any(-1))
    return kept, share.masked_fill(~kept, 0)


def _mean(
    loss: torch.Tensor,
    z: torch.Tensor,
    share: torch.Tensor,
    class_share: torch.Tensor | None,
    options: Options,
) -> torch.Tensor:
    if options.denominator is not None:
        return (loss + z).sum() / options.denominator
    whole_z = share.sum()
    whole = whole_z if class_share is None else (share * class_share).sum()
    if options.empty == "raise" and bool(whole == 0):
        raise ValueError("target: the mean is over no rows (all are ignored or weightless)")
    if options.empty == "zero":
        nothing = whole == 0
        whole, whole_z = (d.masked_fill(nothing, 1) for d in (whole, whole_z))
        loss, z = loss.masked_fill(nothing, 0), z.masked_fill(nothing, 0)
    mean = loss.sum() / whole
    return mean + z.sum() / whole_z if _given(options.z_loss) else mean


def near_one(weights: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Return weights of a mean over the largest that counts, so that no sum overflows."""
    largest = torch.cat([counted.detach().abs().flatten(), counted.new_zeros(1)]).max()
    return weights / largest.masked_fill(largest == 0, 1)


def _given(number: Any) -> bool:
    return isinstance(number, torch.Tensor) or number != 0


def _focused(nll: torch.Tensor, gamma: Any) -> torch.Tensor:
    """Return (1 - p)**gamma times the loss, whose derivative is 0 at p = 1, and 1 at p = 0."""
    if not _given(gamma):
        return nll
    impossible = nll == torch.inf
    rest = -torch.expm1(-nll.masked_fill(impossible, 1))
    certain = rest == 0
    focused: torch.Tensor = rest.masked_fill(certain, 1) ** gamma * nll.masked_fill(impossible, 0)
    return torch.where(impossible, nll, focused.masked_fill(certain, 0))


def _dot(factor: torch.Tensor, nll: torch.Tensor) -> torch.Tensor:
    """Sum of factor * nll over the classes, with 0 * inf = 0."""
    return (factor * nll.masked_fill(factor.expand_as(nll) == 0, 0)).sum(-1)


def check_shapes(
    shape: tuple[int, ...],
    axis: int,
    target: torch.Tensor,
    probabilities: torch.Tensor | None,
    weight: torch.Tensor | None,
    sample_weight: torch.Tensor | None,
) -> None:
    """Check what belongs to logits of a shape, as the kernels do; PyTorch would broadcast."""
    rows = shape[:axis] + shape[axis + 1 :]
    expected: dict[str, Any] = {"target": (target, rows)}
    if probabilities is not None:
        points = (*rows, *sizes(target)[len(rows) : len(rows) + 1])
        if sizes(target) == points != rows and not 1 <= points[-1] <= 1024:
            raise ValueError(f"target: expected a last axis of 1 to 1024 classes, got {points}")
        expected = {"target": (target, points), "target_probabilities": (probabilities, points)}
    elif target.is_floating_point():
        expected = {"target": (target, shape)}
    if weight is not None:
        expected["weight"] = (weight, shape[axis : axis + 1])
    if sample_weight is not None:
        expected["sample_weight"] = (sample_weight, rows)
    for name, (tensor, wanted) in expected.items():
        if sizes(tensor) != wanted:
            raise ValueError(f"{name}: expected shape {wanted}, got {sizes(tensor)}")
