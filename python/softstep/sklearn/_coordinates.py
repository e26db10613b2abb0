"""Coordinates of the features in which a fit computes; the model is of them as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils import gen_batches

from softstep.training.batches import Samples
from softstep.training.scaling import Scaling

# Rows whose copies are in memory at a time.
ROWS = 4096


def scaling_of(
    samples: Samples, ridge: float, centered: bool, batch_size: int | None = None
) -> Scaling:
    """Return the coordinates in which the objective is curved alike along each feature.

    ``ridge`` is the penalty's curvature over that of the loss by its outputs. Without an intercept
    the features keep their means. In a batch of some size no row alone is to have more than that
    curvature, which a rare value would.
    """
    moments, ends = StandardScaler(with_mean=False), MinMaxScaler()
    with np.errstate(over="ignore", invalid="ignore"):  # which is told below
        for part in gen_batches(len(samples.rows), ROWS):
            rows = samples.rows[part]
            features = samples.features[rows]
            weights = None if samples.weights is None else samples.weights[rows]
            moments.partial_fit(features, sample_weight=weights)
            if batch_size is not None:
                ends.partial_fit(features)
        mean = np.asarray(moments.mean_, np.float64)
        # 1 for a feature that is constant but for rounding.
        square = np.square(moments.scale_)
        if batch_size is not None:
            farthest = np.maximum(ends.data_max_ - mean, mean - ends.data_min_)
            square = np.maximum(square, np.square(farthest) / batch_size)
        if not centered:
            square, mean = square + mean**2, np.zeros_like(mean)
        dtype: Any = samples.features.dtype
        factor = (1 / np.sqrt(square + ridge)).astype(dtype)
    if not np.all(np.isfinite(mean) & (factor > 0)):
        raise ValueError(
            "X: expected features whose variance is a finite number, got larger ones: scale them"
        )
    return Scaling(mean.astype(dtype), factor)
