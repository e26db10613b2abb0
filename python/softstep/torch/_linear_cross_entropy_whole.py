"""The linear head through all its logits, for whatever only operations of PyTorch go through."""

from typing import Any, NamedTuple

import torch

from softstep.losses.options import Options
from softstep.torch._cross_entropy import cross_entropy
from softstep.torch._tensors import wide_dtype


class Constants(NamedTuple):
    """What has no gradient, by the names of the NumPy API."""

    target: torch.Tensor
    target_probabilities: torch.Tensor | None
    class_weight: torch.Tensor | None
    sample_weight: torch.Tensor | None
    options: Options
    shift: bool
    workspace: int | None


def whole(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    constants: Constants,
) -> torch.Tensor:
    """Return the loss through all logits."""
    target, masses, share = (
        constants.target, constants.target_probabilities, constants.sample_weight
    )  # fmt: skip
    if constants.shift:
        hidden = hidden[..., :-1, :]
        by_class = masses is None and not target.is_floating_point()
        target = target[..., 1:] if by_class else target[..., 1:, :]
        masses = None if masses is None else masses[..., 1:, :]
        share = None if share is None else share[..., 1:]
    rows = hidden.shape[:-1]
    dtype = wide_dtype(hidden.dtype)
    logits = torch.nn.functional.linear(
        hidden.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    ).reshape(-1, weight.shape[0])

    def flat(tensor: Any) -> Any:
        return None if tensor is None else tensor.reshape(-1, *tensor.shape[len(rows) :])

    # Not `_asdict`, which Dynamo of PyTorch 2.8 does not trace.
    options: dict[str, Any] = dict(zip(Options._fields, constants.options, strict=True))
    loss = cross_entropy(
        logits,
        flat(target),
        constants.class_weight,
        target_probabilities=flat(masses),
        sample_weight=flat(share),
        **options,
    )
    return loss.reshape(rows) if constants.options.reduction == "none" else loss
