"""The parameters of the estimators, checked when a fit begins."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from softstep.training.activations import ACTIVATIONS

Check = Callable[[str, Any], None]


def choice(*allowed: Any) -> Check:
    """Return a check for one of these values."""

    def check(name: str, value: Any) -> None:
        if not any(value is one or (isinstance(value, str) and value == one) for one in allowed):
            raise ValueError(f"{name}: expected one of {allowed}, got {value!r}")

    return check


def number(
    least: float, most: float = math.inf, *, open_ends: bool = False, also: Any = ()
) -> Check:
    """Return a check for a number between these, or what may stand instead of one."""

    def check(name: str, value: Any) -> None:
        if any(value is one or (isinstance(value, str) and value == one) for one in also):
            return
        inside = isinstance(value, Real) and least <= float(value) <= most
        at_end = value == least or (value == most and math.isfinite(most))
        if not inside or (open_ends and at_end):
            ends = "both excluded" if open_ends else "both included"
            raise ValueError(
                f"{name}: expected a number from {least} to {most}, {ends}, got {value!r}"
            )

    return check


def whole(least: int = 1, also: Any = ()) -> Check:
    """Return a check for a whole number, or what may stand instead of one."""

    def check(name: str, value: Any) -> None:
        if value in also:
            return
        if not isinstance(value, Integral) or int(value) < least:
            raise ValueError(f"{name}: expected a whole number of at least {least}, got {value!r}")

    return check


positive = number(0, open_ends=True)


def boolean(name: str, value: Any) -> None:
    """Raise for what is no bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name}: expected True or False, got {value!r}")


def verbosity(name: str, value: Any) -> None:
    """Raise for what is neither a bool nor a level."""
    if not isinstance(value, (Integral, np.bool_)) or int(value) < 0:
        raise ValueError(
            f"{name}: expected True, False or a whole number of at least 0, got {value!r}"
        )


def class_weights(name: str, value: Any) -> None:
    """Raise for what is no way to weight classes."""
    if value is None or (isinstance(value, str) and value == "balanced"):
        return
    if not isinstance(value, dict):
        raise ValueError(f"{name}: expected a dict, 'balanced' or None, got {value!r}")
    for label, weight in value.items():
        if not isinstance(weight, Real) or not 0 <= float(weight) < math.inf:
            raise ValueError(
                f"{name}: expected a finite number of at least 0 for each class, got {weight!r} "
                f"for {label!r}"
            )


def hidden_sizes(value: Any) -> list[int]:
    """Return the sizes of the hidden layers, given as one number or several."""
    sizes = value.tolist() if hasattr(value, "tolist") else value
    # The items of bytes are whole numbers, and "" has none.
    if isinstance(sizes, (str, bytes)) or not isinstance(sizes, Sequence):
        sizes = [sizes]
    for size in sizes:
        if not isinstance(size, Integral) or isinstance(size, bool) or int(size) < 1:
            raise ValueError(
                "hidden_layer_sizes: expected a whole number of at least 1 or a sequence of such, "
                f"got {value!r}"
            )
    return [int(size) for size in sizes]


def layer_sizes(_name: str, value: Any) -> None:
    """Raise for what is no sizes of hidden layers."""
    hidden_sizes(value)


# Of every estimator that has the parameter; the optimizer checks its own.
CHECKS: dict[str, Check] = {
    "hidden_layer_sizes": layer_sizes,
    "activation": choice(*ACTIVATIONS),
    "solver": choice("sgd", "adam", "adamw", "lbfgs"),
    "alpha": number(0),
    "learning_rate": choice("cosine", "constant", "invscaling", "adaptive"),
    "learning_rate_init": number(0, open_ends=True, also=("auto",)),
    "eta0": number(0, open_ends=True, also=("auto",)),
    "power_t": number(0),
    "tol": number(0),
    "label_smoothing": number(0, 1),
    "validation_fraction": number(0, 1, open_ends=True),
    "batch_size": whole(also=("auto",)),
    "max_iter": whole(),
    "max_fun": whole(),
    "n_iter_no_change": whole(also=(math.inf,)),
    "class_weight": class_weights,
    "verbose": verbosity,
    "dual": boolean,
    "early_stopping": boolean,
    "fit_intercept": boolean,
    "nesterovs_momentum": boolean,
    "shuffle": boolean,
    "warm_start": boolean,
}


def check_options(parameters: dict[str, Any], own: dict[str, Check]) -> None:
    """Raise for the first parameter that does not fit; ``own`` are the checks of its estimator."""
    checks = CHECKS | own
    for name, value in parameters.items():
        if name in checks:
            checks[name](name, value)
