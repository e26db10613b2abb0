"""Gradients of the linear head without the classes whose part in a chunk is negligible."""

import numpy as np

import softstep._core as _core
from softstep._typing import FloatArray
from softstep.head.targets import Targets

# With more classes left than this, to gather them costs more than their products.
_MOST = 0.75


def check_filter(filter_eps: float | None) -> float | None:
    """Return the threshold; None for exact gradients."""
    if filter_eps is None:
        return None
    try:
        eps = float(filter_eps)
    except (TypeError, ValueError):
        raise TypeError(
            f"filter_eps: expected a number or None, got {type(filter_eps).__name__}"
        ) from None
    if not 0 < eps < 1:
        raise ValueError(f"filter_eps: expected a number in (0, 1) or None, got {eps}")
    return eps


def keep_live_classes(
    dlogits: FloatArray, targets: Targets, begin: int, eps: float
) -> FloatArray | None:
    """Move the classes that are not negligible to the front of `dlogits`; returns which they are.

    None if nearly all are live; then nothing is moved. Classes live and die in tiles.
    """
    tile, classes = _core.FILTER_TILE, dlogits.shape[1]
    end = begin + len(dlogits)
    live = np.zeros(-(-classes // tile), np.uint8)
    live[targets.classes(begin, end) // tile] = 1
    _core.filter_mark(dlogits, eps * targets.shares(begin, end), live)
    found = np.flatnonzero(live)
    if len(found) > _MOST * len(live):
        return None
    _core.filter_compact(dlogits, live)
    index: FloatArray = (found[:, None] * tile + np.arange(tile)).reshape(-1)
    kept: FloatArray = index[index < classes]
    return kept
