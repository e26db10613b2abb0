"""The linear head through all its logits, for whatever only operations of PyTorch go through."""

from typing import Any

import torch

from softstep.head.shift import check_shift, shifted
from softstep.losses.options import Options
from softstep.torch._cross_entropy import cross_entropy
from softstep.torch._linear_cross_entropy_constants import Constants
from softstep.torch._linear_cross_entropy_extra import of_logits
from softstep.torch._tensors import sizes, wide_dtype


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
    ahead = check_shift(constants.shift)
    if ahead:
        scored, later = shifted(sizes(hidden)[:-1], ahead)
        hidden, target = hidden[scored], target[later]
        masses, share = (None if part is None else part[later] for part in (masses, share))
    rows = hidden.shape[:-1]
    dtype = wide_dtype(hidden.dtype)
    heads = weight.ndim > 2
    logits = torch.nn.functional.linear(
        hidden.to(dtype),
        weight.to(dtype).flatten(0, -2),
        None if bias is None else bias.to(dtype).flatten(),
    ).reshape(-1, *weight.shape[:-1])

    def flat(tensor: Any) -> Any:
        if tensor is None or heads:
            return tensor
        return tensor.reshape(-1, *tensor.shape[len(rows) :])

    # Not `_asdict`, which Dynamo of PyTorch 2.8 does not trace.
    options: dict[str, Any] = dict(zip(Options._fields, constants.options, strict=True))
    if constants.results:
        of_logits(constants.results, logits, flat(target), flat(share), constants)
        for name, result in constants.results.items():
            if name != "correct":
                constants.results[name] = result.reshape(rows)
    loss = cross_entropy(
        logits,
        flat(target),
        constants.class_weight,
        target_probabilities=flat(masses),
        sample_weight=flat(share),
        **options,
    )
    return loss if heads or constants.options.reduction != "none" else loss.reshape(rows)
