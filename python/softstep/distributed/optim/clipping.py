"""The norm of gradients of which each rank has a part, and what it makes of a step."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from softstep._typing import FloatArray
from softstep.distributed.engines.communicator import Communicator
from softstep.distributed.optim.gradients import Gradients
from softstep.optim.norm import Part, global_norm


def norm_of(
    gradients: Sequence[Gradients], active: Mapping[int, FloatArray], comm: Communicator
) -> tuple[float, bool]:
    """Return the 2-norm of all gradients that are active, and whether they are finite."""
    arrays = [part for item in gradients for part in item.wide(active)]
    return global_norm([Part(arrays, lambda number: _summed(number, comm))])


def clip(
    gradients: Sequence[Gradients], norm: float, max_norm: float | None, divisor: float
) -> float:
    """Return what to divide the gradients by, instead of the divisor, so that they are clipped."""
    share = 1.0 if max_norm is None else max_norm / (norm + 1e-6)
    if share >= 1:
        return divisor
    if share > 0 and math.isfinite(divisor / share):
        return divisor / share
    for item in gradients:  # 0 and NaN, which goes on into every parameter
        item.scale(share)
    return divisor


def _summed(number: float, comm: Communicator) -> float:
    total = np.array([number])
    comm.all_reduce(total)
    return float(total[0])
