"""The first line of a text table: names of the columns, or already a row."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from softstep.cli.data.column import MISSING, measured, parsed
from softstep.cli.data.dialect import Dialect, Reading, cut, is_comment

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Header:
    """The columns of a table and where its rows begin."""

    names: tuple[str, ...]
    named: bool
    # Lines, of those that are neither blank nor comments, before the rows.
    lines: int
    notes: tuple[str, ...] = ()


def find_header(
    lines: Sequence[str], dialect: Dialect, reading: Reading, known: Collection[str]
) -> Header:
    """Judge the first lines of a file; ``known`` are names that tell a header from a row."""
    table = [line for line in lines if line.strip() and not is_comment(line, dialect.comment)]
    rows = cut(table, dialect)
    if not rows:
        return Header((), False, 0)
    first, body = rows[0], rows[1:]
    width = _width(body or rows)
    named = _is_header(first, body, known) if reading.header is None else reading.header
    commented = None if named or reading.header is False else _in_comment(lines, dialect, width)
    if commented is not None:
        return Header(unique(commented), True, 0, ("names from a comment",))
    if not named:
        return Header(tuple(map(str, range(width))), False, 0, ("no header line",))
    if len(first) == width - 1 and not _blank(row[-1] for row in body if len(row) == width):
        # As R writes it: the names of the rows have none themselves.
        return Header(unique(["", *first]), True, 1)
    return Header(unique([*first, *[""] * (width - len(first))]), True, 1)


def unique(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names, those that were there before with .1, .2, ... behind them."""
    result: dict[str, None] = {}
    for name in names:
        number, fresh = 0, name
        while fresh in result:
            number += 1
            fresh = f"{name}.{number}"
        result[fresh] = None
    return tuple(result)


def _width(rows: Rows) -> int:
    widths = [len(row) for row in rows]
    return max(widths, key=widths.count)


def _blank(cells: object) -> bool:
    return all(cell == "" for cell in cells)  # type: ignore[attr-defined]


def _is_header(first: Sequence[str], body: Rows, known: Collection[str]) -> bool:
    """Return whether the first line names the columns."""
    columns = [[row[k] for row in body if k < len(row)] for k in range(len(first))]
    lower = {name.lower() for name in known}
    pairs = list(zip(first, columns, strict=True))
    again = any(cell in column and parsed(cell) is None for cell, column in pairs if cell)
    if not again and any(cell.lower() in lower for cell in first if cell):
        return True
    if _counts(first) and not all(_counts(row) for row in body[:1]):
        return True
    votes = [_vote(cell, column) for cell, column in pairs]
    if any(votes):
        return sum(votes) > 0
    # Nothing to compare with, or nothing but texts that are there once.
    return not any(parsed(cell) is not None for cell in first)


def _counts(cells: Sequence[str]) -> bool:
    """Return whether the cells count 0, 1, 2, ... or 1, 2, 3, ..., the last but one at least."""
    numbers = [parsed(cell) for cell in cells]
    while numbers and numbers[-1] is None:
        numbers.pop()
    if len(numbers) < 3 or len(numbers) < len(cells) - 1 or numbers[0] not in (0, 1):
        return False
    return all(number == k + numbers[0] for k, number in enumerate(numbers))


def _vote(cell: str, column: Sequence[str]) -> int:
    """Return 1 if ``cell`` looks like the name of its column, -1 if like a part of it, else 0."""
    present = [other for other in column if other not in MISSING]
    if not present or cell in MISSING:
        return 0
    numbers = sum(measured(other) is not None for other in present)
    if measured(cell) is not None:
        return -1
    if numbers > len(present) / 2:
        return 1
    if cell in present:
        return -1
    # A text that does not come back where the others do.
    return 1 if len(set(present)) < 0.7 * len(present) and len(present) > 3 else 0


def _in_comment(lines: Sequence[str], dialect: Dialect, width: int) -> list[str] | None:
    """Return the names in the last comment before the rows, as numpy.savetxt writes them."""
    last = None
    for line in lines:
        if not is_comment(line, dialect.comment):
            break
        last = line.lstrip()[len(dialect.comment) :].strip()
    names = cut([last], dialect)[0] if last else []
    fits = len(names) == width > 1 and not any(parsed(name) is not None for name in names)
    return names if fits else None
