"""Class labels: from the whole numbers or the text of a column to indices 0 ... C - 1."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softstep.cli.data.column import Texts, number_text, parsed
from softstep.cli.data.label import OPTION, Label
from softstep.cli.data.table import Table, some
from softstep.cli.errors import InputError

Indices = NDArray[np.int64]
# More distinct whole numbers than this, with a few rows each, are measured, not classes.
MEASURED, ROWS_EACH = 100, 10
# Which Python reads as one: "²" is a digit for `str.isdigit`, and nothing for `int`.
WHOLE = re.compile(r"[+-]?[0-9]{1,300}")


def encode(table: Table, label: Label) -> tuple[Indices, list[str]]:
    """Return the class index of each row of ``table`` and the class names, sorted."""
    column = label.column.texts().used()
    _refuse_measured(table, label, column)
    named = column.recoded([_class_name(level) for level in column.levels])
    order = sorted(range(len(named.levels)), key=lambda k: _key(named.levels)(named.levels[k]))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    classes = [named.levels[k] for k in order]
    if len(classes) < 2:
        raise InputError(
            f"{table.source}: label {label}: expected two classes or more, got only "
            f"{classes[0]!r}{label.advice}"
        )
    return rank[named.codes], classes


def encode_known(table: Table, column: Texts, classes: Sequence[str]) -> Indices:
    """Return the index of each row's label among ``classes``, -1 where there is none."""
    column = column.used()
    index = {name: position for position, name in enumerate(classes)}
    names = [_class_name(level) for level in column.levels]
    unknown = [k for k, name in enumerate(names) if name not in index]
    if unknown:
        row = int(np.argmax(np.isin(column.codes, unknown)))
        raise InputError(
            f"{table.place(row)}: expected a label that the weights know ({some(classes)}), got "
            f"{names[column.codes[row]]!r}"
        )
    return np.array([*(index[name] for name in names), -1], np.int64)[column.codes]


def rare(labels: Indices, class_count: int) -> Indices:
    """Return the classes of one row: too few for one to train and one to test."""
    return np.flatnonzero(np.bincount(labels, minlength=class_count) < 2)


def refuse_rare(table: Table, label: Label, labels: Indices, classes: Sequence[str]) -> None:
    """Refuse classes of one row."""
    few = rare(labels, len(classes))
    if not few.size:
        return
    row = int(np.argmax(labels == few[0]))
    if len(few) > ROWS_EACH and 2 * len(few) > len(labels):
        raise InputError(
            f"{table.place(row)}: label {label}: expected classes of two rows or more, got "
            f"{len(classes)} different labels in {len(labels)} rows, as of names or numbers of "
            f"rows; {OPTION}"
        )
    others = f", as have {len(few) - 1} more classes" if len(few) > 1 else ""
    raise InputError(
        f"{table.place(row)}: label {label}: expected two rows or more of every class (one to "
        f"train, one to test), class {classes[few[0]]!r} has one{others}: --rare-classes drop "
        f"leaves them out{label.advice}"
    )


def _refuse_measured(table: Table, label: Label, column: Texts) -> None:
    """Refuse labels that are measured numbers."""
    numbers = [parsed(level) for level in column.levels]
    if None in numbers:
        return
    values = [number for number in numbers if number is not None]
    whole = all(number.is_integer() for number in values)
    gaps = not whole or max(values) - min(values) >= len(values)
    many = len(values) > MEASURED and len(column) < ROWS_EACH * len(values) and gaps
    if whole and not many:
        return
    first = next((k for k, number in enumerate(values) if not number.is_integer()), 0)
    row = int(np.argmax(column.codes == first))
    raise InputError(
        f"{table.place(row)}: label {label}: expected classes (whole numbers or texts), got "
        f"{len(values)} different numbers as {column.levels[first]}: cut them into classes first, "
        f"or fit numbers with softstep.sklearn.MLPRegressor; {OPTION}"
    )


def _class_name(text: str) -> str:
    """Return the name of a class: 3, 3.0, "3" and " 3.0 " are one class, named 3."""
    text = text.strip()
    number = parsed(text)
    if number is None or not np.isfinite(number):
        return text
    # In float64 whole numbers beyond 2^53 would be one class.
    exact = Decimal(text)
    return str(int(exact)) if int(exact) == exact else number_text(number)


def _key(names: Sequence[str]) -> Any:
    return (lambda name: (0, int(name), name)) if all(_whole(name) for name in names) else str


def _whole(name: str) -> bool:
    return WHOLE.fullmatch(name) is not None
