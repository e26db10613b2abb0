"""Extra results of the linear head: of each row, without a gradient."""

from typing import Any

import numpy as np
import torch

from softstep.head.targets import Targets
from softstep.losses.extra_results import Extra, check_extra
from softstep.torch._composed import soft_capped
from softstep.torch._composed_softmax import log_softmax, logsumexp
from softstep.torch._linear_cross_entropy_constants import Constants
from softstep.torch._tensors import of_array

# What autograd finds itself, or what belongs to the reduced loss.
_WITHOUT = ("z_loss", "dtemperature", "dtarget", "dweight")


def asked_for(extra: Any, target: torch.Tensor, masses: torch.Tensor | None) -> dict[str, Any]:
    """Check the names; returns the dict that `of_chunks` or `of_logits` fills."""
    by_class = masses is None and not target.is_floating_point()
    return dict.fromkeys(check_extra(extra, by_class, _WITHOUT).names)


def of_chunks(results: dict[str, Any], targets: Targets) -> None:
    """Take what the chunks have written."""
    for name, value in targets.extra_results(Extra(tuple(results)), 0.0).items():
        array = value if isinstance(value, np.ndarray) else np.array(value)
        results[name] = of_array(array.astype(np.int64) if array.dtype.kind == "i" else array)


def of_logits(
    results: dict[str, Any],
    logits: torch.Tensor,
    target: torch.Tensor,
    share: torch.Tensor | None,
    constants: Constants,
) -> None:
    """Compute them of all logits (rows, classes)."""
    options = constants.options
    by_class = not target.is_floating_point() and constants.target_probabilities is None
    kept = torch.ones(len(logits), dtype=torch.bool, device=logits.device)
    if not target.is_floating_point():
        kept = target != options.ignore_index
        kept = kept if by_class else kept.any(-1)
    if share is not None:
        kept = kept & (share != 0)
    z = soft_capped(logits.detach(), options.softcap)
    log_p = log_softmax(z, -1, options.temperature)
    largest = logits.detach().argmax(-1)
    found = {"lse": lambda: logsumexp(z, -1, options.temperature)}
    found["entropy"] = lambda: -(log_p.exp() * log_p.masked_fill(log_p == -torch.inf, 0)).sum(-1)
    found["target_log_prob"] = lambda: log_p.gather(-1, torch.where(kept, target, 0)[:, None])[:, 0]
    for name in results:
        if name == "correct":
            results[name] = (kept & (largest == target)).sum()
        elif name == "argmax":
            results[name] = torch.where(kept, largest, -1)
        else:
            results[name] = torch.where(kept, found[name](), 0.0)
