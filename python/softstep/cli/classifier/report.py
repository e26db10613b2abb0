"""Confusion matrix, per-class results and the final line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from softstep.cli.data.labels import Indices

Counts = NDArray[np.int64]


def confusion_matrix(labels: Indices, predictions: Indices, class_count: int) -> Counts:
    """Return the rows of true class i that were predicted as class j, (classes, classes)."""
    pairs = np.bincount(labels * class_count + predictions, minlength=class_count**2)
    return pairs.reshape(class_count, class_count).astype(np.int64)


def per_class(confusion: Counts, classes: Sequence[str]) -> str:
    """Return a table of precision, recall, F1 and the number of rows of each class."""
    hits = np.diag(confusion).astype(float)
    predicted, support = confusion.sum(axis=0), confusion.sum(axis=1)
    # A class that was never predicted has precision 0, as in scikit-learn.
    precision = hits / np.maximum(predicted, 1)
    recall = hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(predicted + support, 1)
    width = max(len("class"), *map(len, classes))
    lines = [f"{'class':<{width}}  precision  recall      f1  support"]
    for name, row in zip(classes, zip(precision, recall, f1, support, strict=True), strict=True):
        p, r, f, n = row
        lines.append(f"{name:<{width}}  {p:9.4f}  {r:6.4f}  {f:6.4f}  {n:7d}")
    return "\n".join(lines)


def accuracy(confusion: Counts) -> float:
    """Return the part of the rows that is on the diagonal."""
    return float(np.trace(confusion) / confusion.sum())
