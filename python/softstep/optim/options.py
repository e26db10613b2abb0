"""The options of a group of parameters: what each optimizer has, and what they may be."""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

Schedule: TypeAlias = Callable[[int], float]
"""A number for each step, called with the number of steps done so far, 0 first."""

Native: TypeAlias = tuple[float, ...]
"""What the extension takes: lr, decay, its three flags as numbers, its least dimensions, and the
three numbers of the rule."""


def not_negative(name: str, value: float) -> float:
    """Return the finite number of at least 0 that an argument must be."""
    number = float(value)
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"{name}: expected a finite number of at least 0, got {number}")
    return number


def above_zero(name: str, value: float, *, infinite: bool = False) -> float:
    """Return the number above 0 that an argument must be."""
    number = float(value)
    if not (number > 0 and (infinite or math.isfinite(number))):
        finite = "" if infinite else "finite "
        raise ValueError(f"{name}: expected a {finite}number above 0, got {number}")
    return number


def at_step(name: str, value: float | Schedule, step: int | None) -> float:
    """Return the number of this step; None asks no schedule, and takes 0 for it."""
    if callable(value):
        return 0.0 if step is None else not_negative(name, value(step))
    return not_negative(name, value)


def shared_numbers(options: Mapping[str, Any], lr: float, decay: float) -> Native:
    """Check and return what every rule has."""
    decoupled, by_lr = bool(options["decoupled"]), bool(options["decay_by_lr"])
    if not (decoupled or by_lr):
        raise ValueError("decay_by_lr: False needs decoupled=True: coupled decay follows the rate")
    if by_lr and lr * decay >= 1:
        raise ValueError(
            "lr * weight_decay: the decay factor 1 - lr * weight_decay must stay in (0, 1), "
            f"got 1 - {lr} * {decay} = {1 - lr * decay:.6g}. The "
            "weight_decay of a penalty lam * ||w||**2 is 2 * lam, as in PyTorch"
        )
    if not by_lr and decay >= 1:
        raise ValueError(
            "weight_decay: the decay factor 1 - weight_decay must stay in (0, 1), "
            f"got 1 - {decay} = {1 - decay:.6g}"
        )
    flags = decoupled, by_lr, bool(options["maximize"])
    return (lr, decay, *flags, int(options["min_decay_ndim"]))


def sgd_numbers(options: Mapping[str, Any]) -> Native:
    """Check and return momentum, dampening and the Nesterov flag."""
    momentum, dampening = not_negative("momentum", options["momentum"]), float(options["dampening"])
    if not math.isfinite(dampening):
        raise ValueError(f"dampening: expected a finite number, got {dampening}")
    if options["nesterov"] and (momentum == 0 or dampening != 0):
        raise ValueError(
            "nesterov: expected a momentum above 0 and no dampening, got "
            f"momentum={momentum}, dampening={dampening}"
        )
    return momentum, dampening, bool(options["nesterov"])


def adamw_numbers(options: Mapping[str, Any]) -> Native:
    """Check and return both betas and epsilon."""
    betas = options["betas"]
    if np.shape(betas) != (2,) or not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"betas: expected two numbers in [0, 1), got {betas}")
    return float(betas[0]), float(betas[1]), not_negative("eps", options["eps"])
