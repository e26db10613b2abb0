"""Columns of another file in the places of those that a model was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from softstep.cli.data.column import NO_NUMBER, Column, Numbers, Texts, interpreted
from softstep.cli.data.conversion import Conversion, Feature, refuse_infinite
from softstep.cli.data.label import refuse_column
from softstep.cli.data.selection import refuse_odd
from softstep.cli.data.table import Table, matching, some
from softstep.cli.errors import InputError


@dataclass(frozen=True)
class Trained:
    """What a model knows of the file that it was trained on."""

    conversion: Conversion
    columns: Sequence[str]
    named: bool
    label_column: str


@dataclass(frozen=True)
class Aligned:
    """The features in the model's order, the labels if there are any, and the other columns."""

    features: list[Column]
    label: Texts | None
    others: list[Column]
    notes: list[str]


def align(table: Table, raw: Table, trained: Trained, label_column: str | None) -> Aligned:
    """Find the columns of the model in ``table``; ``raw`` has the texts as they are in the file."""
    features = trained.conversion.features
    positions, label = _positions(table, trained)
    refuse_column(table, label_column)
    if label_column is not None:
        label = table.position(label_column, "--label-column")
    labels = table.label if label is None else table.columns[label]
    notes: list[str] = []
    columns = [
        _meant(table, table.columns[position], feature, notes)
        for feature, position in zip(features, positions, strict=True)
    ]
    others = [column for k, column in enumerate(raw.columns) if k not in {*positions, label}]
    blank = labels is None or bool(labels.missing().all())
    return Aligned(columns, None if labels is None or blank else labels.texts(), others, notes)


def _positions(table: Table, trained: Trained) -> tuple[list[int], int | None]:
    """Return where the features are, and the label if it is there."""
    wanted = [feature.name for feature in trained.conversion.features]
    if trained.named and table.named:
        return _by_name(table, wanted, trained.label_column)
    at = {name: position for position, name in enumerate(trained.columns)}
    places, label = [at[name] for name in wanted], at.get(trained.label_column)
    width = len(table.columns)
    if width == len(trained.columns):
        return places, label
    if width == len(trained.columns) - 1 and label is not None:
        # The file is that of the training without its labels.
        return [place - (place > label) for place in places], None
    if width == len(wanted):
        return list(range(width)), None
    raise InputError(
        f"{table.source}: expected {len(wanted)} features, as in training, and labels or not, got "
        f"{width} columns"
    )


def _by_name(
    table: Table, wanted: Sequence[str], label_column: str
) -> tuple[list[int], int | None]:
    found = [matching(table.names, name) for name in wanted]
    missing = [name for name, places in zip(wanted, found, strict=True) if not places]
    if missing:
        raise InputError(
            f"{table.source}: expected the columns of the training, got none called "
            f"{some(missing)} (but {some(table.names)})"
        )
    label = matching(table.names, label_column) if label_column else []
    return [places[0] for places in found], label[0] if label else None


def _meant(table: Table, column: Column, feature: Feature, notes: list[str]) -> Column:
    """Return a column as the feature that it is."""
    if feature.levels is None:
        meant = interpreted(column)
        if isinstance(meant, Texts) and all(text.lower() in NO_NUMBER for text in meant.levels):
            meant = Numbers(column.name, np.full(len(column), np.nan))
        if isinstance(meant, Texts):
            refuse_odd(table, meant, "")
            row = int(np.argmax(~meant.missing()))
            raise InputError(
                f"{table.place(row)}, column {column.name}: expected a number, as in training, "
                f"got {meant.levels[meant.codes[row]]!r}"
            )
        refuse_infinite(table, meant)
        return meant
    texts = (interpreted(column) if isinstance(column, Numbers) else column).texts()
    strange = [k for k, level in enumerate(texts.levels) if level not in feature.levels]
    count = int(np.count_nonzero(np.isin(texts.codes, strange)))
    if count and not feature.other:
        notes.append(
            f"column {column.name}: {count} row{'s' * (count > 1)} with a text that was not there "
            f"in training: {some([texts.levels[k] for k in strange])}"
        )
    return texts
