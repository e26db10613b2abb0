"""How many positions ahead the targets of a sequence are."""

from operator import index
from typing import Any

import numpy as np


def check_shift(shift: Any) -> int:
    """Return the positions, at least 0; True is one."""
    try:
        ahead = int(shift) if isinstance(shift, np.bool_) else index(shift)
    except TypeError:
        raise TypeError(f"shift: expected a number of positions, got {shift!r}") from None
    if ahead < 0:
        raise ValueError(f"shift: expected at least 0 positions, got {ahead}")
    return ahead


def shifted(positions: tuple[int, ...], ahead: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return what picks the positions (..., T) that have a target, and the targets themselves."""
    if not positions:
        raise ValueError("shift: expected hidden of shape (..., T, D), got one row")
    sequences = (slice(None),) * (len(positions) - 1)
    scored = slice(0, max(positions[-1] - ahead, 0))
    return (*sequences, scored), (*sequences, slice(ahead, None))
