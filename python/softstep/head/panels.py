"""Operands of the linear head's products: used where they lie, or copied a piece at a time."""

from collections.abc import Iterator
from typing import Any

import numpy as np

import softstep._core as _core
from softstep._typing import FloatArray


class WeightPanels:
    """The weight matrix; `scratch` holds one panel if it cannot be multiplied where it lies."""

    scratch: FloatArray

    def __init__(self, weight: FloatArray, dtype: np.dtype[Any]) -> None:
        self.weight = weight
        self.copied = weight.dtype != dtype or not _blas_reads(weight)

    def panels(self, size: int) -> Iterator[tuple[slice, FloatArray]]:
        """Classes, and their rows of the matrix."""
        if not self.copied:
            yield slice(0, len(self.weight)), self.weight
            return
        for start in range(0, max(len(self.weight), 1), size):  # no classes: a product that is 0
            rows = self.weight[start : start + size]
            panel = self.scratch[: len(rows)]
            _widen(panel, rows)
            yield slice(start, start + len(rows)), panel

    def picked(self, classes: FloatArray, size: int) -> Iterator[tuple[slice, FloatArray]]:
        """Copy the rows of these classes, panel by panel; the slices are of `classes`."""
        for start in range(0, len(classes), size):
            rows = classes[start : start + size]
            panel = self.scratch[: len(rows)]
            if _adjacent(self.weight):
                _core.panel_copy(panel, self.weight, rows)
            else:
                panel[...] = self.weight[rows]
            yield slice(start, start + len(rows)), panel


class HiddenRows:
    """The rows of hidden that count, as the left operand of a product."""

    def __init__(
        self, hidden: FloatArray, rows: FloatArray, dtype: np.dtype[Any], scaled: bool
    ) -> None:
        self.count = int(np.prod(hidden.shape[:-1], dtype=np.int64))
        self._hidden, self.rows = hidden, rows
        self._flat = _rows_of(hidden)
        # Rows that follow one another are used where they lie.
        self._adjacent = len(rows) == 0 or int(rows[-1] - rows[0]) == len(rows) - 1
        direct = self._flat is not None and hidden.dtype == dtype and self._adjacent
        self.copied = scaled or not direct

    def chunk(self, begin: int, end: int, scratch: FloatArray | None) -> FloatArray:
        """Return the counting rows [begin, end)."""
        rows = self.rows[begin:end]
        if scratch is None:
            assert self._flat is not None
            return self._flat[rows[0] : rows[0] + len(rows)]
        x = scratch[: len(rows)]
        if self._flat is not None:
            _core.panel_copy(x, self._flat, rows)
        else:
            x[...] = self._hidden[np.unravel_index(rows, self._hidden.shape[:-1])]
        return x

    def place(self, dhidden: FloatArray, begin: int, end: int) -> FloatArray | None:
        """Where the gradient of rows [begin, end) can be written by a product, if it can."""
        if not self._adjacent or dhidden.dtype.itemsize == 2:
            return None
        first = int(self.rows[0])
        return dhidden.reshape(-1, dhidden.shape[-1])[first + begin : first + end]


def add_rows(to: FloatArray, rows: FloatArray, values: FloatArray, adds: bool) -> None:
    """Write or add `values` to rows of `to`, all of whose axes but the last are rows."""
    flat = to.reshape(-1, to.shape[-1])
    if not adds:
        flat[rows] = values
    elif flat.dtype == values.dtype:
        _core.panel_add(flat, values, rows)
    else:
        flat[rows] = flat[rows].astype(values.dtype) + values


def _rows_of(hidden: FloatArray) -> FloatArray | None:
    """Return a view with two axes and adjacent features, if there is one."""
    features = hidden.shape[-1]
    if not _adjacent(hidden):
        return None
    if hidden.ndim == 2:
        return hidden
    stride = 0
    for size, step in zip(hidden.shape[-2::-1], hidden.strides[-2::-1], strict=True):
        if size == 1:
            continue
        if stride and step != stride:
            return None
        stride = step * size
    return hidden.reshape(-1, features)


def _adjacent(array: FloatArray) -> bool:
    return array.shape[-1] <= 1 or array.strides[-1] == array.itemsize


def _blas_reads(matrix: FloatArray) -> bool:
    """Whether BLAS takes the matrix, or its transpose, as it lies; else NumPy would copy it."""
    for (rows, cols), (row, col) in (
        (matrix.shape, matrix.strides),
        (matrix.shape[::-1], matrix.strides[::-1]),
    ):
        item = matrix.itemsize
        if (cols <= 1 or col == item) and (
            rows <= 1 or (row % item == 0 and cols <= row // item < 2**31)
        ):
            return True
    return False


def _widen(to: FloatArray, rows: FloatArray) -> None:
    if _adjacent(rows):
        _core.panel_copy(to, rows, None)
    else:
        to[...] = rows
