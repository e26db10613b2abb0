"""Errors of the vector mathematics in units in the last place."""

from typing import Any

import numpy as np


def ulp_error(actual: Any, exact: Any) -> Any:
    """Distance to a value of higher precision, in units of the last place of the rounded value."""
    spacing = np.spacing(np.abs(exact).astype(actual.dtype))
    return np.abs(actual.astype(exact.dtype) - exact) / spacing


def tanh_slope(x: Any) -> Any:
    """1 - tanh(x)^2, without its cancellation."""
    return np.cosh(x) ** -2
