"""Whether a contender's result is right, before it is timed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softstep.bench.contender import Outcome

# float64 copies of at most this many elements at a time: the cases are large.
CHUNK = 1 << 22


def error_of(outcome: Outcome, expected: Mapping[str, NDArray[Any]]) -> float:
    """Return the largest error of all arrays; infinite for a missing one or a NaN.

    The error of an element is ``|got - expected| / (|expected| + mean |expected|)``: relative for
    large elements, and relative to the usual size for those near 0.
    """
    return max(_error(outcome.get(name), reference) for name, reference in expected.items())


def _error(got: Any, reference: NDArray[Any]) -> float:
    if got is None:
        return math.inf
    got = np.asarray(got)
    if got.shape != reference.shape:
        return math.inf
    if not reference.size:
        return 0.0
    got, reference = got.reshape(-1), reference.reshape(-1)
    usual = float(np.mean(np.abs(reference)))
    worst = 0.0
    for first in range(0, reference.size, CHUNK):
        part = slice(first, first + CHUNK)
        right = np.abs(reference[part])
        with np.errstate(invalid="ignore", divide="ignore"):
            errors = np.abs(got[part] - reference[part]) / (right + usual)
        # A NaN among them, or 0 / 0 where everything is expected to be 0.
        same = got[part] == reference[part]
        errors[same] = 0.0
        errors[np.isnan(errors)] = math.inf
        worst = max(worst, float(errors.max()))
    return worst
