"""The parameters of the estimators, checked when a fit begins."""

from numbers import Integral, Real
from typing import Any


def check_options(estimator: Any) -> None:
    """Raise for the first parameter that does not fit; the optimizer checks its own."""
    options = estimator.get_params()
    _choice(options, "solver", "sgd", "adamw")
    _choice(options, "learning_rate", "cosine", "constant")
    _number(options, "alpha", 0)
    _number(options, "tol", 0)
    _number(options, "label_smoothing", 0, 1)
    _number(options, "validation_fraction", 0, 1, open_ends=True)
    if options["learning_rate_init"] != "auto":
        _number(options, "learning_rate_init", 0, open_ends=True)
    if options["batch_size"] != "auto":
        _whole(options, "batch_size")
    _whole(options, "max_iter")
    _whole(options, "n_iter_no_change")


def hidden_sizes(value: Any) -> list[int]:
    """Return the sizes of the hidden layers, given as one number or several."""
    sizes = [value] if isinstance(value, Integral) else list(value)
    if not all(isinstance(size, Integral) and int(size) > 0 for size in sizes):
        raise ValueError(f"hidden_layer_sizes: expected whole numbers of at least 1, got {value!r}")
    return [int(size) for size in sizes]


def _choice(options: dict[str, Any], name: str, *allowed: str) -> None:
    if options[name] not in allowed:
        raise ValueError(f"{name}: expected one of {allowed}, got {options[name]!r}")


def _number(
    options: dict[str, Any],
    name: str,
    least: float,
    most: float = float("inf"),
    open_ends: bool = False,
) -> None:
    value = options[name]
    inside = isinstance(value, Real) and least <= float(value) <= most
    if not inside or (open_ends and value in (least, most)):
        ends = "both excluded" if open_ends else "both included"
        raise ValueError(f"{name}: expected a number from {least} to {most}, {ends}, got {value!r}")


def _whole(options: dict[str, Any], name: str) -> None:
    value = options[name]
    if not isinstance(value, Integral) or int(value) < 1:
        raise ValueError(f"{name}: expected a whole number of at least 1, got {value!r}")
