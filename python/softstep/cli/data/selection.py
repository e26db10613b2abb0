"""Which columns and rows of a table take part: the label, the features, what is left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from softstep.cli.data.column import (
    MISSING,
    NO_NUMBER,
    TRUTHS,
    Column,
    Numbers,
    Texts,
    interpreted,
    parsed,
)
from softstep.cli.data.label import GIVEN, LABEL_NAMES, Label, find_label
from softstep.cli.data.suspicion import counts
from softstep.cli.data.table import Table
from softstep.cli.errors import InputError

# How columns of row numbers are called, and how a column without a name is in a message.
UNNAMED = ("", "unnamed: 0", "rownames", "index")
NAMELESS = "a column without a name"
# Texts of more levels than this, most of which occur once, are names, not categories.
FEW_LEVELS = 20


@dataclass(frozen=True)
class Choices:
    """What the user said about columns and missing values."""

    label_column: str | None = None
    drop: Sequence[str] = ()
    keep: Sequence[str] = ()
    missing: str = "mean"
    missing_values: Sequence[str] = MISSING
    rare_classes: str = "error"


@dataclass
class Changes:
    """What was done to the columns, by kind, to be said in one line."""

    kinds: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, what: str) -> None:
        """Note that ``kind`` was done to ``what``."""
        self.kinds.setdefault(kind, []).append(what)

    def __str__(self) -> str:
        return "; ".join(f"{kind}: {', '.join(items)}" for kind, items in self.kinds.items())


@dataclass(frozen=True)
class Selection:
    """The features of a table, interpreted, and the label of each row."""

    table: Table
    label: Label
    changes: Changes


def select(table: Table, choices: Choices) -> Selection:
    """Find the label and the features of a table to train on."""
    changes = Changes()
    # By name from here on: positions change as columns are left out.
    wanted = choices.label_column and table.names[table.position(choices.label_column, GIVEN)]
    kept = {table.names[table.position(each, "--keep")] for each in choices.keep}
    dropped = {table.names[table.position(each, "--drop")] for each in choices.drop}
    table = _without_empty(tidied(table, choices.missing_values), wanted, changes)
    label = find_label(table, wanted)
    if label is None or len(table.columns) - (not table.apart) < 1:
        raise InputError(
            f"{table.source}: expected features beside the labels, got one column: if it is cut at "
            f"another sign, --separator says at which"
        )
    if label.name in dropped:
        raise InputError(f"--drop: {label.name} is the label column{label.advice}")
    left_out = dropped | _index_columns(table, label, kept, changes)
    features = table.without({label.name, *left_out})
    features, label = _labelled(features, label, changes)
    features = _interpreted(features, label, kept, changes)
    if not features.columns:
        raise InputError(
            f"{table.source}: expected features beside the label {label.name}, got none "
            f"that can be used{f' ({changes})' if changes.kinds else ''}"
        )
    return Selection(features, label, changes)


def tidied(table: Table, missing: Iterable[str]) -> Table:
    """Return the table with texts that stand for a missing value as such."""
    missing = tuple(missing)
    label = None if table.label is None else table.label.tidied(missing)
    columns = tuple(column.tidied(missing) for column in table.columns)
    return replace(table, columns=columns, label=label)


def _without_empty(table: Table, label: str | None, changes: Changes) -> Table:
    """Leave out rows and columns in which nothing is."""
    empty = np.ones(len(table), bool)
    for column in table.columns:
        empty &= column.missing()
        if not empty.any():
            break
    if count := int(np.count_nonzero(empty)):
        changes.add("left out", f"{count} empty row{'s' * (count > 1)}")
        table = table.take(~empty)
    if not len(table):
        raise InputError(f"{table.source}: expected rows below the header, got none")
    hollow = {
        column.name
        for column in table.columns
        if column.missing().all()
        and column.name != label
        and column.name.lower() not in LABEL_NAMES
    }
    for name in sorted(hollow):
        changes.add("left out", f"{name or NAMELESS} (empty)")
    return table.without(hollow)


def _index_columns(table: Table, label: Label, kept: set[str], changes: Changes) -> set[str]:
    """Return the columns without a name that number or name the rows."""
    found = set()
    for column in table.columns:
        if not table.named or column.name in {label.name, *kept}:
            continue
        if isinstance(column, Texts):
            numbers = _differs(column)
        else:
            # The rows of a part of a table have kept their numbers.
            first = column is table.columns[0]
            numbers = counts(column) or (first and _whole_and_different(column))
        if numbers and column.name.strip().lower() in UNNAMED:
            changes.add("left out", f"{column.name or NAMELESS} (numbers the rows)")
            found.add(column.name)
    return found


def _differs(column: Texts) -> bool:
    """Return whether nearly every row has a text of its own."""
    present = int(np.count_nonzero(~column.missing()))
    return len(column.used().levels) > 0.9 * present


def _whole_and_different(column: Numbers) -> bool:
    """Return whether every row has a whole number of its own."""
    values = column.values
    whole = bool((np.trunc(values) == values).all())
    return whole and len(np.unique(values)) == len(values)


def _labelled(table: Table, label: Label, changes: Changes) -> tuple[Table, Label]:
    """Leave out the rows without a label."""
    without = label.column.missing()
    if without.all():
        raise InputError(f"{table.source}: label {label}: expected labels, got none{label.advice}")
    if not without.any():
        return table, label
    kept = np.flatnonzero(~without)
    count = len(table) - len(kept)
    marks = label.column.marks if isinstance(label.column, Texts) else ()
    marked = f", or with {' or '.join(marks)} (a class with --keep-na)" if marks else ""
    changes.add("left out", f"{count} row{'s' * (count > 1)} without a label{marked}")
    return table.take(kept), replace(label, column=label.column.take(kept))


def _interpreted(table: Table, label: Label, kept: set[str], changes: Changes) -> Table:
    """Return the features as numbers or categories; leave out texts that name the rows."""
    columns: list[Column] = []
    for column in table.columns:
        meant = interpreted(column)
        if isinstance(meant, Texts):
            refuse_odd(table, meant, label.advice)
            levels, present = len(meant.levels), int(np.count_nonzero(~meant.missing()))
            if levels > max(FEW_LEVELS, present / 2) and column.name not in kept:
                changes.add(
                    "left out", f"{column.name} (texts that differ in {levels} of {present} rows)"
                )
                continue
        elif isinstance(column, Texts):
            texts = {level.lower() for level in column.levels}
            if texts <= TRUTHS.keys():
                changes.add("as 1 and 0", column.name)
            elif any(parsed(text) is None for text in texts - NO_NUMBER):
                changes.add("numbers without their signs", column.name)
        columns.append(meant)
    return replace(table, columns=tuple(columns))


def refuse_odd(table: Table, column: Texts, advice: str) -> None:
    """Refuse a column of numbers with a few texts in it."""
    row = column.odd_row()
    if row is None:
        return
    text = column.levels[column.codes[row]]
    raise InputError(
        f"{table.place(row)}, column {column.name}: expected a number, as in nearly all of its "
        f"rows, got {text!r}: --missing-values {text} takes it for a missing one, --drop "
        f"{column.name} leaves the column out{advice}"
    )
