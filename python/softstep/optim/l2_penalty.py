"""The L2 penalty, whose gradient is weight decay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

import softstep._core as _core
from softstep._typing import FloatArray
from softstep.optim.options import not_negative


def l2_penalty(params: FloatArray | Sequence[FloatArray], lam: float) -> float:
    """L2 penalty ``lam * sum(w**2)`` over one array or a list of arrays.

    Its gradient is ``2 * lam * w``: an `SGD` with ``weight_decay = 2 * lam`` minimises the loss
    plus this penalty.

    Parameters
    ----------
    params : ndarray or sequence of ndarray
        float32 or float64, of any shape and layout.
    lam : float
        The coefficient, at least 0.

    Returns
    -------
    float
        Accumulated in double precision.

    Raises
    ------
    TypeError, ValueError
        For a dtype or a coefficient that does not fit.

    Examples
    --------
    >>> import numpy as np, softstep as ss
    >>> ss.l2_penalty([np.array([1.0, 2.0]), np.array([[3.0]])], 0.5)
    7.0
    """
    if not isinstance(params, Iterable):
        raise TypeError(f"params: expected arrays, got {type(params).__name__}")
    arrays = [params] if isinstance(params, np.ndarray) else list(params)
    return not_negative("lam", lam) * _core.sum_of_squares(arrays)
