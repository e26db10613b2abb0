"""Read a comma-separated file with a label column, naming the line of whatever is wrong."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np

from softstep.cli.data.table import Table
from softstep.cli.errors import InputError

# The label column is the one with such a name, or else the last, if the user says nothing.
LABEL_NAMES = ("label", "class", "target")


def read_csv(source: str, label_column: str | None, expected: int | None) -> Table:
    """Read ``source``. With ``expected`` features and no more columns there are no labels."""
    # utf-8-sig: spreadsheets put a byte order mark in front of the first cell.
    with open(source, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        try:
            rows = ((reader.line_num, cells) for cells in reader if cells)
            return _read(source, rows, label_column, expected)
        except UnicodeDecodeError as error:
            raise InputError(f"{source}: expected UTF-8 text: {error}") from error
        except csv.Error as error:
            place = f"{source}, line {reader.line_num}"
            raise InputError(f"{place}: cannot be read as .csv: {error}") from error


def _read(
    source: str,
    rows: Iterator[tuple[int, list[str]]],
    label_column: str | None,
    expected: int | None,
) -> Table:
    first = next(rows, None)
    if first is None:
        raise InputError(f"{source}: expected rows of numbers and a label, got an empty file")
    width = len(first[1])
    named, label = _layout(source, first[1], label_column, expected)
    columns = [cell.strip() for cell in first[1]] if named else [str(c) for c in range(width)]
    label_name = "" if label is None else columns.pop(label)
    values, lines, labels = array("d"), array("q"), []
    for line, cells in rows if named else chain([first], rows):
        if len(cells) != width:
            raise InputError(
                f"{source}, line {line}: expected {width} columns, as in the first line, "
                f"got {len(cells)}"
            )
        if label is not None:
            labels.append(cells.pop(label))
        try:
            values.extend(map(float, cells))
        except ValueError:
            raise InputError(f"{source}, line {line}, {_first_text(cells, columns)}") from None
        lines.append(line)
    if not lines:
        raise InputError(f"{source}: expected rows below the header, got none")
    if not columns:
        raise InputError(f"{source}: expected features beside the labels, got one column")
    return Table(
        source,
        np.frombuffer(values, np.float64).reshape(len(lines), len(columns)),
        None if label is None else np.array(labels),
        tuple(columns),
        named,
        label_name,
        np.frombuffer(lines, np.int64),
    )


def _layout(
    source: str, first: list[str], label_column: str | None, expected: int | None
) -> tuple[bool, int | None]:
    """Return whether ``first`` is a header, and the position of the labels."""
    names = [cell.strip() for cell in first]
    known = LABEL_NAMES if label_column is None else (label_column,)
    hits = [column for column, name in enumerate(names) if name in known]
    named = bool(hits) or not any(map(_is_number, names))
    if expected is not None and len(first) != expected + 1:
        if len(first) == expected:
            return named, None
        raise InputError(
            f"{source}: expected {expected} features, as in training, and labels or not, "
            f"got {len(first)} columns"
        )
    if label_column is None:
        return named, hits[0] if hits else len(first) - 1
    if len(hits) > 1:
        raise InputError(f"{source}: expected one column {label_column!r}, got {len(hits)}")
    if hits:
        return named, hits[0]
    try:
        # A position, counted from the end if negative, as in Python.
        return named, range(len(first))[int(label_column)]
    except (ValueError, IndexError):
        allowed = f"a position from {-len(first)} to {len(first) - 1}"
        header = _some(names) if named else "the file has no header line"
        raise InputError(
            f"{source}: label column: expected {allowed} or a name ({header}), got {label_column!r}"
        ) from None


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _first_text(cells: Iterable[str], columns: Iterable[str]) -> str:
    for cell, column in zip(cells, columns, strict=True):
        if not _is_number(cell):
            return f"column {column}: expected a number, got {cell!r}"
    raise AssertionError("every cell is a number")
