"""A table of features and labels, wherever it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softstep.cli.errors import InputError


@dataclass(frozen=True)
class Table:
    """Features (rows, columns) and, if there are any, one raw label per row."""

    source: str
    features: NDArray[np.float64]
    labels: NDArray[Any] | None
    # The features' names, or their 0-based positions if the source has no names.
    columns: tuple[str, ...]
    named: bool = False
    # Name or position of the column that the labels came from, if they came from one.
    label_column: str = ""
    # The line of each row, if the source has lines.
    lines: NDArray[np.int64] | None = None

    def place(self, row: int) -> str:
        """Say where ``row`` is, for a message."""
        where = f"row {row}" if self.lines is None else f"line {self.lines[row]}"
        return f"{self.source}, {where}"

    def check_finite(self) -> None:
        """Refuse a NaN or an infinity, naming the first."""
        finite = np.isfinite(self.features)
        if finite.all():
            return
        row, column = (int(index) for index in np.argwhere(~finite)[0])
        raise InputError(
            f"{self.place(row)}, column {self.columns[column]}: "
            f"expected a finite number, got {self.features[row, column]}"
        )
