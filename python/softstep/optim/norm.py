"""The norm of gradients of which a process has a part."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

import softstep._core as _core
from softstep._typing import FloatArray

_TINY = 2.0**-600  # squares of large float64 numbers overflow


class Part(NamedTuple):
    """Arrays in float32 or float64, and how a number is added up over the processes with parts."""

    arrays: Sequence[FloatArray]
    summed: Callable[[float], float]


def global_norm(parts: Sequence[Part]) -> tuple[float, bool]:
    """Return the 2-norm of all parts on all processes, and whether they are finite."""
    total = sum(part.summed(_core.sum_of_squares(list(part.arrays))) for part in parts)
    if math.isfinite(total):
        return math.sqrt(total), True
    scaled = sum(part.summed(_scaled(part.arrays)) for part in parts)
    return math.sqrt(scaled) / _TINY, math.isfinite(scaled)


def _scaled(arrays: Sequence[FloatArray]) -> float:
    singles = [array for array in arrays if array.dtype == np.float32]
    doubles = [array * _TINY for array in arrays if array.dtype == np.float64]
    return _core.sum_of_squares(singles) * _TINY * _TINY + _core.sum_of_squares(doubles)
