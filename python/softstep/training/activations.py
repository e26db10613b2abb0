"""Activations of hidden layers, in place, and their derivatives from their own values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Activation(NamedTuple):
    """``apply`` overwrites z by f(z), ``derive`` f(z) by f'(z)."""

    apply: Callable[[Any], None]
    derive: Callable[[Any], None]


def _tanh(z: Any) -> None:
    np.tanh(z, out=z)


def _tanh_slope(y: Any) -> None:
    np.square(y, out=y)
    np.subtract(1, y, out=y)


def _logistic(z: Any) -> None:
    """Compute 1 / (1 + exp(-z)) as (1 + tanh(z / 2)) / 2, which cannot overflow."""
    z *= 0.5
    np.tanh(z, out=z)
    z *= 0.5
    z += 0.5


def _logistic_slope(y: Any) -> None:
    """Compute y (1 - y) as 1/4 - (y - 1/2)**2, without a second array."""
    y -= 0.5
    np.square(y, out=y)
    np.subtract(0.25, y, out=y)


# None: the products of the layers do it.
ACTIVATIONS: dict[str, Activation | None] = {
    "relu": None,
    "tanh": Activation(_tanh, _tanh_slope),
    "logistic": Activation(_logistic, _logistic_slope),
    "identity": Activation(lambda z: None, lambda y: y.fill(1)),
}
