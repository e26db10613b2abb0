"""Cross-entropy composed of PyTorch's operations: for tensors that are not on the CPU."""

import torch

import softstep._core as _core
from softstep.losses.options import Options
from softstep.torch._tensors import wide_dtype


def cross_entropy(
    logits: torch.Tensor,
    target: torch.Tensor,
    probabilities: torch.Tensor | None,
    weight: torch.Tensor | None,
    sample_weight: torch.Tensor | None,
    options: Options,
) -> torch.Tensor:
    """Return the loss that the kernels compute, to rounding."""
    x = logits.to(wide_dtype(logits.dtype)).movedim(0 if logits.ndim == 1 else 1, -1)
    share = torch.ones_like(x[..., 0]) if sample_weight is None else sample_weight.to(x.dtype)
    kept = share != 0
    by_class = probabilities is None and not target.is_floating_point()
    _core.cross_entropy_numbers(by_class, **options._asdict())  # refuses what does not fit
    if by_class:
        kept = kept & (target != options.ignore_index)
    elif probabilities is not None:
        kept = kept & (target != options.ignore_index).any(-1)
    # What an ignored row holds must not reach any sum.
    x = x.masked_fill(~kept.unsqueeze(-1), 0)
    allowed = x != -torch.inf
    if options.softcap is not None:
        x = torch.where(allowed, options.softcap * torch.tanh(x / options.softcap), x)
    x = x / options.temperature
    lse = torch.logsumexp(x, -1)
    nll = lse.unsqueeze(-1) - x
    w = torch.ones_like(nll[..., :1]) if weight is None else weight.to(x.dtype).expand_as(nll)
    eps = options.label_smoothing
    if by_class or probabilities is not None:
        points = target.unsqueeze(-1) if by_class else target
        given = points != options.ignore_index
        index = points.masked_fill(~given, 0).long()
        mass = given.to(x.dtype) if probabilities is None else probabilities.to(x.dtype) * given
        at = w.expand_as(nll).gather(-1, index)
        own = nll.gather(-1, index)
        loss = _dot((1 - eps) * mass * at, _focused(own, options.gamma))
    else:
        index, at = target.new_zeros((*target.shape[:1], 0)).long(), w
        q = target.movedim(0 if logits.ndim == 1 else 1, -1).to(x.dtype)
        loss = _dot((1 - eps) * q * w, nll)
    if eps:
        spread = torch.ones_like(nll)
        if options.smoothing == "allowed":
            spread = allowed.to(x.dtype)
        elif options.smoothing == "exclude_target":
            spread = spread.scatter(-1, index, 0.0)
        spread = spread / spread.sum(-1, keepdim=True).clamp(min=1)
        loss = loss + _dot(eps * spread * w, nll)
    share = share.masked_fill(~kept, 0)
    z = options.z_loss * lse.square() if options.z_loss else torch.zeros_like(lse)
    loss, z = share * loss.masked_fill(~kept, 0), share * z.masked_fill(~kept, 0)
    if options.reduction == "none":
        return loss + z
    if options.reduction == "sum":
        return (loss + z).sum()
    return _mean(loss, z, share, at[..., 0] if by_class and weight is not None else None, options)


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
    if options.empty != "nan" and bool(whole == 0):
        if options.empty == "raise":
            raise ValueError("target: the mean is over no rows (all are ignored or weightless)")
        return (loss + z).sum() * 0
    if not options.z_loss:
        return loss.sum() / whole
    return loss.sum() / whole + z.sum() / whole_z


def _focused(nll: torch.Tensor, gamma: float) -> torch.Tensor:
    """Return (1 - p)**gamma times the loss, whose derivative at p = 1 is 0, not NaN."""
    if not gamma:
        return nll
    rest = -torch.expm1(-nll)
    certain = rest == 0
    return (rest.masked_fill(certain, 1) ** gamma * nll).masked_fill(certain, 0)


def _dot(factor: torch.Tensor, nll: torch.Tensor) -> torch.Tensor:
    """Sum of factor * nll over the classes, with 0 * inf = 0."""
    return (factor * nll.masked_fill(factor.expand_as(nll) == 0, 0)).sum(-1)
