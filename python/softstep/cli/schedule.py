"""Schedules: the step size alpha_t as a function of the step t = 0 ... steps - 1."""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[int], float]


def _constant(lr: float, steps: int) -> Schedule:
    return lambda t: lr


def _inverse_time(lr: float, steps: int) -> Schedule:
    # Ends near a tenth of lr however long the training is.
    return lambda t: lr / (1 + 9 * t / steps)


def _cosine(lr: float, steps: int) -> Schedule:
    return lambda t: lr * (1 + math.cos(math.pi * t / steps)) / 2


SCHEDULES: dict[str, Callable[[float, int], Schedule]] = {
    "constant": _constant,
    "inverse-time": _inverse_time,
    "cosine": _cosine,
}
