"""Confusion matrix, per-class results and the final line."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from softstep.cli.data.labels import Indices

Counts = NDArray[np.int64]
# More classes than this are not shown one by one, but so many of the worst.
MOST_CLASSES, WORST = 60, 20
# Columns of a terminal that a class may take.
NAME_WIDTH = 40


def confusion_matrix(labels: Indices, predictions: Indices, class_count: int) -> Counts:
    """Return the rows of true class i that were predicted as class j, (classes, classes)."""
    pairs = np.bincount(labels * class_count + predictions, minlength=class_count**2)
    return pairs.reshape(class_count, class_count).astype(np.int64, copy=False)


def f1_scores(confusion: Counts) -> NDArray[np.float64]:
    """Return the F1 of each class."""
    predicted, support = confusion.sum(axis=0), confusion.sum(axis=1)
    return np.asarray(2 * np.diag(confusion) / np.maximum(predicted + support, 1))


def shown_classes(confusion: Counts) -> list[int]:
    """Return all classes, or of many those of the lowest F1, the most frequent first of equals."""
    if len(confusion) <= MOST_CLASSES:
        return list(range(len(confusion)))
    support = confusion.sum(axis=1)
    held_out = np.flatnonzero(support)
    order = np.lexsort((-support[held_out], f1_scores(confusion)[held_out]))
    found: list[int] = held_out[order[:WORST]].tolist()
    return found


def per_class(confusion: Counts, classes: Sequence[str]) -> str:
    """Return a table of precision, recall, F1 and the number of rows of each class."""
    hits = np.diag(confusion).astype(float)
    predicted, support = confusion.sum(axis=0), confusion.sum(axis=1)
    # A class that was never predicted has precision 0, as in scikit-learn.
    precision = hits / np.maximum(predicted, 1)
    recall = hits / np.maximum(support, 1)
    f1, shown = f1_scores(confusion), shown_classes(confusion)
    names = [short(classes[k], NAME_WIDTH) for k in shown]
    width = max(len("class"), *map(columns, names))
    lines = [f"{'class':<{width}}  precision  recall      f1  support"]
    for k, name in zip(shown, names, strict=True):
        padded = name + " " * (width - columns(name))
        results = f"{precision[k]:9.4f}  {recall[k]:6.4f}  {f1[k]:6.4f}  {support[k]:7d}"
        lines.append(f"{padded}  {results}")
    if len(shown) < len(classes):
        lines.insert(0, f"the {len(shown)} classes of the lowest f1, of {len(classes)}:")
    return "\n".join(lines)


def short(name: str, width: int) -> str:
    """Return as much of the name as ``width`` columns of a terminal hold."""
    if columns(name) <= width:
        return name
    while columns(name) >= width:
        name = name[:-1]
    return f"{name}…"


def columns(text: str) -> int:
    """Return the columns of a terminal that ``text`` takes: two for a Japanese character."""
    return sum(1 + (unicodedata.east_asian_width(sign) in "FW") for sign in text)


def accuracy(confusion: Counts) -> float:
    """Return the part of the rows that is on the diagonal."""
    return float(np.trace(confusion) / confusion.sum())
