"""Class labels: from the whole numbers or the text of a file to indices 0 ... C - 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softstep.cli.data.table import Table
from softstep.cli.errors import InputError

Indices = NDArray[np.int64]


def encode_labels(table: Table, classes: Sequence[str] | None = None) -> tuple[Indices, list[str]]:
    """Return the class index of each row and the class names.

    The names are ``classes``, or all labels that occur, sorted: as numbers if all of them are.
    """
    labels = table.labels
    if labels is None:
        raise InputError(f"{table.source}: expected an array y of class labels")
    if labels.dtype.kind not in "fiubUS":
        raise InputError(f"{table.source}: y: expected numbers or text, got dtype {labels.dtype}")
    values, first_rows, positions = np.unique(labels, return_index=True, return_inverse=True)
    names = [
        _class_name(value, table.place(int(row)))
        for value, row in zip(values.tolist(), first_rows, strict=True)
    ]
    if classes is None:
        classes = sorted(set(names), key=_sort_key(names))
    index = {name: position for position, name in enumerate(classes)}
    unknown = [int(row) for name, row in zip(names, first_rows, strict=True) if name not in index]
    if unknown:
        row = min(unknown)
        some = ", ".join(classes[:8]) + (", ..." if len(classes) > 8 else "")
        raise InputError(
            f"{table.place(row)}: expected a label that the weights know ({some}), "
            f"got {_class_name(labels[row], table.place(row))!r}"
        )
    indices = np.array([index[name] for name in names], np.int64)
    return indices[positions.reshape(-1)], list(classes)


def check_classes(table: Table, labels: Indices, classes: Sequence[str]) -> None:
    """Refuse a single class, and a class too small for a training and a test row."""
    if len(classes) < 2:
        raise InputError(f"{table.source}: expected two classes or more, got only {classes[0]!r}")
    counts = np.bincount(labels, minlength=len(classes))
    smallest = int(np.argmin(counts))
    if counts[smallest] < 2:
        row = int(np.flatnonzero(labels == smallest)[0])
        raise InputError(
            f"{table.place(row)}: expected two rows or more of every class (one to train, one to "
            f"test), got one of class {classes[smallest]!r}"
        )


def _class_name(value: Any, place: str) -> str:
    """Return the name of a class: 3, 3.0, "3" and " 3.0 " are one class, named 3."""
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    text = text.strip()
    if not text:
        raise InputError(f"{place}: expected a label, got nothing")
    number = _number(text)
    if number is None:
        return text
    if not number.is_integer():
        raise InputError(f"{place}: expected a label (a whole number or text), got {text}")
    return str(int(text)) if text.lstrip("+-").isdigit() else str(int(number))


def _number(text: str) -> float | None:
    # Python reads 1_2 as 12, which would merge two classes.
    if "_" in text:
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _sort_key(names: Sequence[str]) -> Any:
    if all(_number(name) is not None for name in names):
        return int
    return str
