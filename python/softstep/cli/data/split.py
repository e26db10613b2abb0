"""From a table to a problem: standardised features, rows to train on, stop by and test on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from softstep.cli.data.conversion import Conversion
from softstep.cli.data.label import Label
from softstep.cli.data.labels import Indices, encode, rare, refuse_rare
from softstep.cli.data.selection import Choices, Selection
from softstep.cli.data.suspicion import warnings
from softstep.cli.data.table import Table
from softstep.cli.errors import InputError

# Held-out rows of a class below which its results say little.
FEW_ROWS = 5


@dataclass(frozen=True)
class Problem:
    """Standardised features and labels of all rows, and which of them are for what."""

    classes: list[str]
    conversion: Conversion
    features: NDArray[np.float32]
    labels: Indices
    train: Indices
    validation: Indices
    test: Indices


def stratified_split(
    labels: Indices, fraction: float, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    """Return the rows to train and to test on: of each class, ``fraction`` and one at least."""
    train, test = [], []
    # Sorted once, not searched for each of thousands of classes.
    order = np.argsort(labels, kind="stable")
    for rows in np.split(order, np.cumsum(np.bincount(labels))[:-1]):
        rows = rng.permutation(rows)
        held_out = min(max(round(fraction * len(rows)), 1), max(len(rows) - 1, 0))
        test.append(rows[:held_out])
        train.append(rows[held_out:])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(test))


def pose_problem(
    selection: Selection,
    choices: Choices,
    test_fraction: float,
    validation_fraction: Callable[[int], float],
    rng: np.random.Generator,
) -> tuple[Problem, list[str]]:
    """Hold out rows and convert the features by those to train on; return warnings, too.

    ``validation_fraction`` tells which part of so many rows is to be held out to stop by.
    """
    table, label, changes = selection.table, selection.label, selection.changes
    table, label = _without_missing(table, label, choices, selection)
    labels, classes = encode(table, label)
    if choices.rare_classes == "drop" and (few := rare(labels, len(classes))).size:
        kept = np.flatnonzero(~np.isin(labels, few))
        changes.add("left out", f"{len(table) - len(kept)} rows of classes with one row")
        table, label = table.take(kept), replace(label, column=label.column.take(kept))
        labels, classes = encode(table, label)
    if table.held_out:
        count = len(table) - table.held_out
        rows, test = np.arange(count), np.arange(count, len(table))
    else:
        refuse_rare(table, label, labels, classes)
        rows, test = stratified_split(labels, test_fraction, rng)
    train, validation = rows, rows[:0]
    if fraction := validation_fraction(len(rows)):
        train, validation = _validation(labels, rows, fraction, rng)
    conversion = Conversion.fit(table, rows, choices.missing_values)
    conversion.describe(table, changes)
    problem = Problem(
        classes, conversion, conversion(table.columns), labels, train, validation, test
    )
    said = [*warnings(table, labels), *_few_rows(problem)]
    return problem, said


def _validation(
    labels: Indices, rows: Indices, fraction: float, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    """Hold out rows to stop by; a class of one row stays in the training."""
    _, own = np.unique(labels[rows], return_inverse=True)
    train, validation = stratified_split(own, fraction, rng)
    return rows[train], rows[validation]


def _without_missing(
    table: Table, label: Label, choices: Choices, selection: Selection
) -> tuple[Table, Label]:
    """Leave out, or refuse, rows with missing values if the user says so."""
    if choices.missing == "mean":
        return table, label
    missing = np.zeros(len(table), bool)
    for column in table.columns:
        here = column.missing()
        if choices.missing == "error" and here.any():
            row = int(np.argmax(here))
            raise InputError(
                f"{table.place(row)}, column {column.name}: expected a value, got none: "
                f"--missing mean fills it in, --missing drop leaves such rows out"
            )
        missing |= here
    count = int(np.count_nonzero(missing))
    if not count:
        return table, label
    if count == len(table):
        raise InputError(f"{table.source}: --missing drop: expected rows without a missing value")
    selection.changes.add("left out", f"{count} row{'s' * (count > 1)} with missing values")
    kept = np.flatnonzero(~missing)
    return table.take(kept), replace(label, column=label.column.take(kept))


def _few_rows(problem: Problem) -> Sequence[str]:
    found = np.bincount(problem.labels, minlength=len(problem.classes))
    smallest = int(np.argmin(found))
    if found[smallest] >= FEW_ROWS:
        return []
    few = int(np.count_nonzero(found < FEW_ROWS))
    others = f"{few} classes have" if few > 1 else f"class {problem.classes[smallest]} has"
    return [f"{others} fewer than {FEW_ROWS} rows: too few to judge the accuracy by"]
