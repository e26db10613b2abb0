"""The options of SGD and what they may be."""

import math
from typing import NamedTuple


class SGDOptions(NamedTuple):
    """Everything but the rate, in the order that the extension takes."""

    momentum: float
    dampening: float
    weight_decay: float
    nesterov: bool
    decoupled: bool
    maximize: bool

    def checked(self) -> "SGDOptions":
        """Return plain floats and bools that fit together; arrays of no dimensions are numbers."""
        momentum = not_negative("momentum", self.momentum)
        weight_decay = not_negative("weight_decay", self.weight_decay)
        dampening = float(self.dampening)
        if not math.isfinite(dampening):
            raise ValueError(f"dampening: expected a finite number, got {dampening}")
        if self.nesterov and (momentum == 0 or dampening != 0):
            raise ValueError(
                "nesterov: expected a momentum above 0 and no dampening, got "
                f"momentum={momentum}, dampening={dampening}"
            )
        flags = bool(self.nesterov), bool(self.decoupled), bool(self.maximize)
        return SGDOptions(momentum, dampening, weight_decay, *flags)

    def checked_rate(self, lr: float) -> float:
        """Return a rate that leaves something of the parameters."""
        rate = not_negative("lr", lr)
        if rate * self.weight_decay >= 1:
            raise ValueError(
                "lr * weight_decay: the decay factor 1 - lr * weight_decay must stay in (0, 1), "
                f"got 1 - {rate} * {self.weight_decay} = {1 - rate * self.weight_decay:.6g}. The "
                "weight_decay of a penalty lam * ||w||**2 is 2 * lam, as in PyTorch"
            )
        return rate


def not_negative(name: str, value: float) -> float:
    """Return the finite number of at least 0 that an argument must be."""
    number = float(value)
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"{name}: expected a finite number of at least 0, got {number}")
    return number
