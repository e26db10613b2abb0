"""Read the rows of a text table by polars, a chunk at a time on a few threads."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softstep.cli.data.column import MISSING, Column, Numbers, Texts
from softstep.cli.data.lines import Lines, widths_differ, without_blank

WORKERS = 2
# Whole numbers beyond it are not all in float64.
EXACT = 2.0**53


class NotAsExpected(Exception):
    """The rows are not what polars can read; the slow reader says where, or manages."""


class NotNumbers(Exception):
    """Columns, by position, that were taken for numbers and have texts, or too many digits."""

    def __init__(self, positions: Sequence[int]) -> None:
        super().__init__(positions)
        self.positions = positions


def read_fast(
    polars: Any,
    lines: Lines,
    names: Sequence[str],
    texts: Collection[int],
    on_bytes: Callable[[int], None],
) -> list[Column]:
    """Return the columns ``names``; those at the positions ``texts`` are texts, others numbers."""
    kinds = set(texts)
    while True:
        try:
            return _read(polars, lines, names, kinds, on_bytes)
        except NotNumbers as error:
            kinds |= set(error.positions)


def _read(
    polars: Any,
    lines: Lines,
    names: Sequence[str],
    texts: set[int],
    on_bytes: Callable[[int], None],
) -> list[Column]:
    parser = _Parser(polars, lines, len(names), texts)
    numbers = [position for position in range(len(names)) if position not in texts]
    store = _Store(len(numbers), lines.source.size())
    cells: dict[int, list[Any]] = {position: [] for position in sorted(texts)}
    for columns, done in _ahead(parser, lines, on_bytes):
        store.add([columns[position] for position in numbers], len(columns[0]), done)
        for position, pieces in cells.items():
            pieces.append(columns[position])
    read: dict[int, Column] = {
        position: _texts(polars, names[position], pieces)
        for position, pieces in cells.items()
        if pieces
    }
    rounded = [
        position
        for position, values in zip(numbers, store.columns(), strict=True)
        if _rounded(values)
    ]
    if rounded:
        raise NotNumbers(rounded)
    for position, values in zip(numbers, store.columns(), strict=True):
        read[position] = Numbers(names[position], values)
    return [read[position] for position in range(len(names))] if store.rows else []


def _rounded(values: NDArray[np.float64]) -> bool:
    """Return whether these are whole numbers of which some may have been rounded."""
    if not len(values) or max(np.fmax.reduce(values), -np.fmin.reduce(values)) < EXACT:
        return False
    return bool(((values == np.trunc(values)) | np.isnan(values)).all())


class _Store:
    """Columns of numbers that grow, of a file of ``size`` bytes if that is known.

    Numbers go to their place at once: a parser's memory is used again for the next chunk, and no
    column is there twice.
    """

    def __init__(self, width: int, size: int | None) -> None:
        self.rows = 0
        self._size = size
        self._values = np.empty((width, 0))

    def add(self, columns: list[Any], rows: int, done: int) -> None:
        """Append ``rows`` rows, after which ``done`` bytes of the file are read."""
        end = self.rows + rows
        if end > self._values.shape[1]:
            # What is never touched takes no memory.
            expected = end / done * self._size if self._size else 2 * end
            grown = np.empty((len(columns), max(end, int(1.1 * expected))))
            grown[:, : self.rows] = self._values[:, : self.rows]
            self._values = grown
        for values, column in zip(self._values, columns, strict=True):
            values[self.rows : end] = column.to_numpy()
        self.rows = end

    def columns(self) -> Iterator[NDArray[np.float64]]:
        """Yield each column."""
        yield from (values[: self.rows] for values in self._values)


def _ahead(
    parser: _Parser, lines: Lines, on_bytes: Callable[[int], None]
) -> Iterator[tuple[list[Any], int]]:
    """Parse a few chunks at a time; yield the columns in order, and the bytes read so far."""
    waiting: deque[tuple[Future[list[Any]], int]] = deque()

    def next_one() -> tuple[list[Any], int]:
        future, done = waiting.popleft()
        return future.result(), done

    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            for chunk, done in lines.chunks():
                waiting.append((pool.submit(parser, chunk), done))
                on_bytes(done)
                if len(waiting) > WORKERS:
                    yield next_one()
            while waiting:
                yield next_one()
        finally:
            for future, _ in waiting:
                future.cancel()


class _Parser:
    """Parses a chunk into polars series, of numbers or of texts."""

    def __init__(self, polars: Any, lines: Lines, width: int, texts: set[int]) -> None:
        dialect = lines.dialect
        self._polars = polars
        self._texts = texts
        self._width = width
        self._keys = [str(position) for position in range(width)]
        self._options = {
            "has_header": False,
            "separator": dialect.separator,
            "quote_char": dialect.quote,
            "decimal_comma": dialect.decimal_comma,
        }
        self._dialect = dialect

    def __call__(self, chunk: bytes) -> list[Any]:
        dialect = self._dialect
        quoted = dialect.quote.encode() in chunk
        if quoted or widths_differ(chunk, dialect.separator, self._width):
            chunk = without_blank(chunk)
            if not quoted and widths_differ(chunk, dialect.separator, self._width):
                raise NotAsExpected
        return self._columns(chunk)

    def _columns(self, chunk: bytes) -> list[Any]:
        errors = self._polars.exceptions.PolarsError
        try:
            frame = self._frame(chunk, self._texts)
            return [frame[key] for key in self._keys]
        except errors:
            pass
        try:
            # Not for the texts: the label may be called "NA".
            frame = self._frame(chunk, self._texts, null_values=list(MISSING))
        except errors:
            raise NotNumbers(self._without_numbers(chunk)) from None
        if self._texts:
            texts = self._frame(chunk, set(range(self._width)))
            return [
                (texts if position in self._texts else frame)[key]
                for position, key in enumerate(self._keys)
            ]
        return [frame[key] for key in self._keys]

    def _frame(self, chunk: bytes, texts: set[int], **more: Any) -> Any:
        pl = self._polars
        schema = {
            key: pl.String if position in texts else pl.Float64
            for position, key in enumerate(self._keys)
        }
        return pl.read_csv(io.BytesIO(chunk), schema=schema, **self._options, **more)

    def _without_numbers(self, chunk: bytes) -> list[int]:
        """Return which columns have something else than numbers, or refuse the chunk."""
        pl, every = self._polars, set(range(self._width))
        try:
            frame = self._frame(chunk, every)
        except pl.exceptions.PolarsError as error:
            raise NotAsExpected from error
        found = []
        for position in every - self._texts:
            cells = frame[self._keys[position]]
            present = cells.filter(~cells.is_in(list(MISSING)))
            numbers = present.str.replace(",", ".") if self._dialect.decimal_comma else present
            if numbers.cast(pl.Float64, strict=False).null_count():
                found.append(position)
        if not found:
            raise NotAsExpected
        return found


def _texts(polars: Any, name: str, pieces: list[Any]) -> Texts:
    cells = polars.concat(pieces).fill_null("")
    levels = cells.unique(maintain_order=True)
    codes = cells.cast(polars.Enum(levels)).to_physical().to_numpy().astype(np.int32)
    return Texts(name, codes, tuple(levels.to_list()))
