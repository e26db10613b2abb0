"""Schedules of a training of known length: the step size alpha_t for t = 0 ... steps - 1."""

from __future__ import annotations

from collections.abc import Callable

from softstep import schedules
from softstep.schedules import Schedule

SCHEDULES: dict[str, Callable[[float, int], Schedule]] = {
    "constant": lambda lr, steps: schedules.constant(lr),
    # Ends near a tenth of lr however long the training is.
    "inverse-time": lambda lr, steps: schedules.inverse_time(lr, 9 / steps),
    "cosine": schedules.cosine,
}
