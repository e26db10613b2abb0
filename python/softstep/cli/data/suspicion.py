"""Columns that a model had better not see: those that count the rows, or give the label away."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from softstep.cli.data.column import Column, Numbers
from softstep.cli.data.table import Table

# Rows that are looked at first: most columns are cleared by them.
FEW = 2000
# Rows from which it is no chance that each value of a column has one label only.
PER_VALUE, PER_CLASS = 3, 5
# Rows from which it is no chance that whole numbers in any order are 1 ... n.
SHUFFLED = 30


def counts(column: Column) -> bool:
    """Return whether a column only counts the rows: n, n + 1, ..., or such numbers shuffled."""
    if not isinstance(column, Numbers) or len(column) < 4:
        return False
    values = column.values
    if not np.isfinite(values).all() or (values[:FEW] != np.round(values[:FEW])).any():
        return False
    with np.errstate(over="ignore"):
        if (np.diff(values) == 1).all():
            return True
        narrow = values.max() - values.min() < 1.1 * len(values)
    return len(values) >= SHUFFLED and narrow and len(np.unique(values)) == len(values)


def warnings(table: Table, labels: NDArray[np.int64]) -> Iterator[str]:
    """Yield a warning for each column that counts, and for each that alone gives the label."""
    for column in table.columns:
        leave = f"--drop {column.name or 0} leaves it out"
        if counts(column):
            yield f"column {column.name} only counts the rows: {leave}"
        elif predicts(column, labels):
            yield f"column {column.name} alone predicts the label of every row: {leave}"


def predicts(column: Column, labels: NDArray[np.int64]) -> bool:
    """Return whether the value of a column tells the label of each row, and not by chance."""
    some = slice(0, FEW)
    codes = _codes(column)
    for rows in (some, slice(None)) if len(labels) > FEW else (some,):
        if not (
            _each_has_one(codes[rows], labels[rows])
            or (isinstance(column, Numbers) and _in_intervals(column.values[rows], labels[rows]))
        ):
            return False
    return len(np.unique(labels)) > 1


def _codes(column: Column) -> NDArray[np.float64]:
    values = column.values if isinstance(column, Numbers) else column.codes
    return np.nan_to_num(np.asarray(values, np.float64), nan=np.inf)


def _each_has_one(values: NDArray[np.float64], labels: NDArray[np.int64]) -> bool:
    """Return whether each value comes with one label, and with a few rows on average."""
    order = np.argsort(values, kind="stable")
    same = values[order][1:] == values[order][:-1]
    changes = labels[order][1:] != labels[order][:-1]
    distinct = len(values) - np.count_nonzero(same)
    return bool(not (same & changes).any() and distinct * PER_VALUE <= len(values))


def _in_intervals(values: NDArray[np.float64], labels: NDArray[np.int64]) -> bool:
    """Return whether each label has an interval of the values to itself, and enough rows."""
    found = np.bincount(labels)
    found = found[found > 0]
    if not np.isfinite(values).all() or found.min() < PER_CLASS:
        return False
    order = np.argsort(values, kind="stable")
    same = values[order][1:] == values[order][:-1]
    changes = labels[order][1:] != labels[order][:-1]
    return not (same & changes).any() and np.count_nonzero(changes) == len(found) - 1
