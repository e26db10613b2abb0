"""Read the rows of a text table by Python's csv module: any rows, or a message with the line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from softstep.cli.data.column import Column, Texts
from softstep.cli.data.lines import Lines, excess
from softstep.cli.errors import InputError


def read_slow(lines: Lines, names: Sequence[str]) -> list[Column]:
    """Return the columns ``names`` as texts; empty cells beyond them are left out."""
    width = len(names)
    known: list[dict[str, int]] = [{} for _ in names]
    codes: list[list[int]] = [[] for _ in names]
    for line, row in lines.cells():
        if len(row) != width and (len(row) < width or excess(row, width)):
            raise InputError(
                f"{lines.source.name}, line {line}: expected {width} columns, as in the first "
                f"line, got {len(row)}"
            )
        for cell, levels, column in zip(row, known, codes, strict=False):
            column.append(levels.setdefault(cell, len(levels)))
    return [
        Texts(name, np.array(column, np.int32), tuple(levels))
        for name, column, levels in zip(names, codes, known, strict=True)
    ]
