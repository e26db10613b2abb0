"""What the linear head is given besides tensors that have gradients."""

from typing import Any, NamedTuple

import torch

from softstep.losses.options import Options


class Constants(NamedTuple):
    """What has no gradient, by the names of the NumPy API."""

    target: torch.Tensor
    target_probabilities: torch.Tensor | None
    class_weight: torch.Tensor | None
    sample_weight: torch.Tensor | None
    options: Options
    shift: int
    workspace: int | None
    results: dict[str, Any] | None = None  # by the names that are asked for, to be filled
