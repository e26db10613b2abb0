"""Scratch memory of the linear head: how a budget is spent, and the buffer that is kept."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

import softstep._core as _core
from softstep._typing import FloatArray

# Measured, docs/design/0006-linear-head.md and 0012-products.md: more gain little. bfloat16 can be
# multiplied so fast that what each chunk reads and writes besides counts.
_BYTES, _BFLOAT16_BYTES, _ROWS = 64 << 20, 96 << 20, 1024
_ALIGNMENT = 64


class Needs(NamedTuple):
    """How many arrays of each shape a chunk of rows needs; sizes in elements of `itemsize`."""

    rows: int  # in all
    features: int
    classes: int
    itemsize: int
    row_classes: int  # (chunk, classes)
    row_features: int  # (chunk, features)
    class_vectors: int  # (classes,)

    def bytes(self, rows: int) -> int:
        """Return what chunks of `rows` rows take."""
        row = self.row_classes * self.classes + self.row_features * self.features
        arrays = self.row_classes + self.row_features + self.class_vectors
        elements = rows * row + self.class_vectors * self.classes
        return elements * self.itemsize + arrays * _ALIGNMENT


class Plan(NamedTuple):
    """Rows of a chunk, and the bytes that it takes."""

    rows: int
    bytes: int


def plan_chunks(needs: Needs, workspace: int | None, bfloat16: bool = False) -> Plan:
    """Return the largest even chunks that fit into `workspace` bytes."""
    least = needs.bytes(1)
    if workspace is None:  # a single row of logits may be larger than the default
        most = _BFLOAT16_BYTES if bfloat16 else _BYTES
        budget = max(least, min(most, needs.bytes(_ROWS)))
    elif workspace < least:
        raise ValueError(
            f"workspace: expected at least {least} bytes, for one row, got {workspace}"
        )
    else:
        budget = workspace
    rows = 1 + (budget - least) // max(needs.bytes(2) - least, 1)
    rows = _even(needs.rows, rows)
    return Plan(rows, needs.bytes(rows))


def _even(total: int, most: int) -> int:
    """Return the size of as few parts of `total` as there are with at most `most`, made even."""
    most = max(1, most)
    parts = max(1, -(-total // most))
    return max(1, -(-total // parts))


class Arena:
    """Arrays one after the other in a buffer."""

    def __init__(self, buffer: FloatArray, dtype: np.dtype[Any]) -> None:
        self._buffer, self._dtype, self._used = buffer, dtype, 0

    def array(self, *shape: int) -> FloatArray:
        """Return the next array; it holds anything."""
        size = math.prod(shape) * self._dtype.itemsize
        found = self._buffer[self._used : self._used + size].view(self._dtype).reshape(shape)
        self._used += -(-size // _ALIGNMENT) * _ALIGNMENT
        return found


class _Kept(threading.local):
    buffer: FloatArray | None = None


_kept = _Kept()


@contextmanager
def borrowed(size: int, dtype: np.dtype[Any]) -> Iterator[Arena]:
    """Lend this thread's buffer, made larger if need be; a call inside a call has its own."""
    buffer, _kept.buffer = _kept.buffer, None
    if buffer is None or buffer.size < size:
        buffer = None  # the old one goes before the new one comes
        buffer = np.empty(size + _ALIGNMENT, np.uint8)  # NumPy asks for huge pages
        skipped = -buffer.ctypes.data % _ALIGNMENT
        buffer = buffer[skipped : skipped + size]
    try:
        yield Arena(buffer, dtype)
    finally:
        _kept.buffer = buffer


def release_workspace() -> None:
    """Free the memory that is kept for later calls.

    That is this thread's scratch memory of the linear head, and, on Linux, the memory of up to two
    large results (from 4 MiB) that are not in use any more; the system takes the latter by itself
    when memory is short.

    Examples
    --------
    >>> import softstep as ss
    >>> ss.release_workspace()
    """
    _kept.buffer = None
    _core.release_results()
