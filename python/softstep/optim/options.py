"""The options that are one number or one choice, and what they may be.

The options of groups are read and checked by the extension, by their names (`_core.UpdateGroups`).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

import softstep._core as _core
from softstep._typing import FloatArray

Schedule: TypeAlias = Callable[[int], float]
"""A number for each step, called with the number of steps done so far, 0 first."""


def not_negative(name: str, value: float) -> float:
    """Return the finite number of at least 0 that an argument must be."""
    number = _core.number(value, name)
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"{name}: expected a finite number of at least 0, got {number}")
    return number


def norm_limit(max_norm: float | None) -> float | None:
    """Return the number that the norm is clipped to, if any."""
    return None if max_norm is None else _core.above_zero(max_norm, "max_norm", infinite=True)


def check_rounding(master: bool, stochastic_rounding: bool) -> None:
    """Refuse what excludes each other."""
    if master and stochastic_rounding:
        raise ValueError("master: its parameters are rounded to nearest, not stochastically")


class Precision(NamedTuple):
    """How half precision is held and rounded; the names are those of the arguments."""

    state_dtype: str | None
    master: bool
    stochastic_rounding: bool
    bfloat16_bits: bool

    def check(self) -> None:
        """Refuse what does not fit."""
        check_rounding(self.master, self.stochastic_rounding)
        if self.state_dtype not in (None, "bfloat16"):
            raise ValueError(f"state_dtype: expected None or 'bfloat16', got {self.state_dtype!r}")

    def is_bfloat16(self, array: FloatArray) -> bool:
        """Whether it is ml_dtypes' bfloat16, or uint16 where that stands for it."""
        return array.dtype.name == "bfloat16" or (self.bfloat16_bits and array.dtype == np.uint16)

    def of_state(self, param: FloatArray, place: int) -> np.dtype[Any]:
        """Return the dtype of a state of the rule; uint16 holds bfloat16."""
        wide = param.dtype if param.dtype == np.float64 else np.dtype(np.float32)
        if self.state_dtype is None or place > 0:
            return wide
        if wide == np.float64:
            raise ValueError("state_dtype: float64 parameters need None, got 'bfloat16'")
        return np.dtype(np.uint16)

    def has_master(self, param: FloatArray) -> bool:
        """Whether a float32 copy of the parameter is trained."""
        return self.master and param.dtype.itemsize == 2
