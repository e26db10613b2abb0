"""The score of outputs that an estimator's `score` would give their rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, r2_score

from softstep._typing import FloatArray
from softstep.training.batches import Samples


def class_indices(outputs: FloatArray) -> Any:
    """Return the class of each row: of the highest output, or the second for one above 0."""
    if outputs.shape[1] == 1:
        return (outputs[:, 0] > 0).astype(np.intp)
    return outputs.argmax(axis=1)


def labels_of(targets: Any) -> Any:
    """Return the class indices that a classifier's targets stand for."""
    return targets if targets.ndim == 1 else class_indices(targets)


def score_of(samples: Samples, outputs: FloatArray, classifies: bool) -> float:
    """Return the accuracy, or R**2, of the outputs of the samples."""
    rows = samples.rows
    targets = samples.labels[rows]
    weights = None if samples.weights is None else samples.weights[rows]
    if not classifies:
        return float(r2_score(targets, outputs, sample_weight=weights))
    return float(accuracy_score(labels_of(targets), class_indices(outputs), sample_weight=weights))
