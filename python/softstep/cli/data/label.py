"""Which column of a table holds the labels, and how that was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from softstep.cli.data.column import Column, parsed
from softstep.cli.data.table import Table, matching
from softstep.cli.errors import InputError

# In the order of preference; in any case.
LABEL_NAMES = ("label", "class", "target", "y", "labels", "classes", "targets", "outcome")
GIVEN = "--label-column"
OPTION = "--label-column names another, by its name or its position from 0"


@dataclass(frozen=True)
class Label:
    """The label column; ``how`` it was found, and whether that was no more than a guess.

    Labels that are an array beside the features were not found: there is no ``how``.
    """

    column: Column
    how: str
    guessed: bool = False

    def __str__(self) -> str:
        return (
            f"column {self.column.name} ({self.how})" if self.how else f"array {self.column.name}"
        )

    @property
    def name(self) -> str:
        """The name of the column."""
        return self.column.name

    @property
    def advice(self) -> str:
        """What to do if it is the wrong one, after a message; or nothing."""
        return f"; {OPTION}" if self.how and self.how != GIVEN else ""


def find_label(table: Table, wanted: str | None) -> Label | None:
    """Return the label column: the ``wanted`` one, or one of a usual name, or the last."""
    if table.apart:
        refuse_column(table, wanted)
        if table.label is None:
            raise InputError(f"{table.source}: expected an array y of class labels")
        return Label(table.label, "")
    if wanted is not None:
        return Label(table.columns[table.position(wanted, GIVEN)], GIVEN)
    if table.named:
        for name in LABEL_NAMES:
            found = matching(table.names, name)
            if found:
                return Label(table.columns[found[0]], "found by its name")
    if len(table.columns) < 2:
        return None
    return Label(table.columns[-1], "the last one, assumed", guessed=True)


def label_names(wanted: str | None) -> Sequence[str]:
    """Return the names that tell a header line from a row."""
    # A number is a position, and no evidence that the first line names columns.
    return LABEL_NAMES if wanted is None or parsed(wanted) is not None else (wanted, *LABEL_NAMES)


def refuse_column(table: Table, wanted: str | None) -> None:
    """Refuse the name of a column where the labels are none."""
    if table.apart and wanted is not None:
        raise InputError(
            f"--label-column {wanted}: there is no label column in {table.source}: its labels are "
            f"an array of their own"
        )
