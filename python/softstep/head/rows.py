"""The rows of the linear head: multiplied where they lie, or copied a chunk at a time."""

from math import prod
from typing import Any

import numpy as np

import softstep._core as _core
from softstep._typing import FloatArray


class HiddenRows:
    """The rows of hidden that count, as the left operand of a product."""

    def __init__(
        self, hidden: FloatArray, rows: FloatArray, dtype: np.dtype[Any], scaled: bool
    ) -> None:
        self.count = prod(hidden.shape[:-1])
        self._hidden, self.rows = np.atleast_2d(hidden), rows
        self._flat = _rows_of(hidden)
        # Rows that follow one another are used where they lie.
        self._adjacent = len(rows) == 0 or int(rows[-1] - rows[0]) == len(rows) - 1
        self.copied = scaled or self._flat is None

    def chunk(
        self, begin: int, end: int, scratch: FloatArray | None
    ) -> tuple[FloatArray, FloatArray | None]:
        """Return a matrix with the counting rows [begin, end), and which of it they are, or all."""
        rows = self.rows[begin:end]
        if scratch is None:
            assert self._flat is not None
            if self._adjacent:
                return self._flat[rows[0] : rows[0] + len(rows)], None
            return self._flat, np.ascontiguousarray(rows, np.int64)
        x = scratch[: len(rows)]
        if self._flat is not None:
            _core.panel_copy(x, self._flat, rows)
        else:
            x[...] = self._hidden[np.unravel_index(rows, self._hidden.shape[:-1])]
        return x, None

    def place(self, dhidden: FloatArray, begin: int, end: int) -> FloatArray | None:
        """Where the gradient of rows [begin, end) can be written by a product, if it can."""
        if not self._adjacent or dhidden.dtype.itemsize == 2:
            return None
        first = int(self.rows[0])
        return matrix(dhidden)[first + begin : first + end]


def matrix(array: FloatArray) -> FloatArray:
    """Return the array with one axis of rows; there may be no features."""
    return array.reshape(prod(array.shape[:-1]), array.shape[-1])


def add_rows(to: FloatArray, rows: FloatArray, values: FloatArray, adds: bool) -> None:
    """Write or add `values` to rows of `to`, all of whose axes but the last are rows."""
    flat = matrix(to)
    if not adds:
        flat[rows] = values
    elif flat.dtype == values.dtype:
        _core.panel_add(flat, values, rows)
    else:
        flat[rows] = flat[rows].astype(values.dtype) + values


def _rows_of(hidden: FloatArray) -> FloatArray | None:
    """Return a view with two axes and adjacent features, if there is one."""
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
    return matrix(hidden)


def _adjacent(array: FloatArray) -> bool:
    return array.shape[-1] <= 1 or array.strides[-1] == array.itemsize
