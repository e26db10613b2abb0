"""A table: columns of equal length, wherever they came from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softstep.cli.data.column import Column
from softstep.cli.errors import InputError


@dataclass(frozen=True)
class Table:
    """Columns as they were read, and what was noticed on the way."""

    source: str
    columns: tuple[Column, ...]
    # Without names the columns are called by their positions.
    named: bool = False
    # What was found out about the file, for the user to know.
    notes: tuple[str, ...] = ()
    # The label column, where the kind of file says it, and the rows that are to be held out.
    label: Column | None = None
    # Whether labels are an array beside the features, and no column of them.
    apart: bool = False
    held_out: int = 0
    # The rows of the file that are left, if not all are, and where in it a row is.
    rows: NDArray[np.int64] | None = None
    locate: Callable[[int], str] = "row {}".format

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 0

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return [column.name for column in self.columns]

    def place(self, row: int) -> str:
        """Say where ``row`` is, for a message."""
        return f"{self.source}, {self.locate(row if self.rows is None else int(self.rows[row]))}"

    def noted(self, *notes: str) -> Table:
        """Return the table with more notes."""
        return replace(self, notes=self.notes + notes)

    def take(self, rows: NDArray[Any]) -> Table:
        """Return the table of these rows, a mask or indices."""
        kept = np.arange(len(self))[rows]
        return replace(
            self,
            columns=tuple(column.take(kept) for column in self.columns),
            label=None if self.label is None else self.label.take(kept),
            held_out=int(np.count_nonzero(kept >= len(self) - self.held_out)),
            rows=kept if self.rows is None else self.rows[kept],
        )

    def without(self, names: Collection[str]) -> Table:
        """Return the table without these columns."""
        return replace(self, columns=tuple(c for c in self.columns if c.name not in names))

    def position(self, column: str, option: str) -> int:
        """Return the position of the column that ``option`` names, or of which it is the position.

        A name counts in any case if it has no equal; a position is counted from the end if it is
        negative, as in Python.
        """
        found = matching(self.names, column)
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(
                f"{self.source}: {option}: expected one column {column!r}, got {len(found)}"
            )
        count = len(self.columns)
        try:
            return range(count)[int(column)]
        except (ValueError, IndexError):
            header = some(self.names) if self.named else "the file has no header line"
            raise InputError(
                f"{self.source}: {option}: expected a position from {-count} to {count - 1} or a "
                f"name ({header}), got {column!r}"
            ) from None


def matching(names: Sequence[str], wanted: str) -> list[int]:
    """Return where ``wanted`` is among ``names``, in any case if nowhere in its own."""
    exact = [k for k, name in enumerate(names) if name == wanted]
    lower = wanted.strip().lower()
    return exact or [k for k, name in enumerate(names) if name.strip().lower() == lower]


def some(names: Sequence[str]) -> str:
    """Return the first of ``names`` for a message."""
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
