"""Read a .parquet file by polars."""

from __future__ import annotations

from typing import Any, BinaryIO

from softstep.cli.data.column import Column, Numbers, Texts
from softstep.cli.data.memory import most_unpacked
from softstep.cli.data.source import Source
from softstep.cli.data.table import Table
from softstep.cli.errors import InputError
from softstep.cli.extras import demo_module

CELL_BYTES = 8


def read_parquet(source: Source) -> Table:
    """Read all columns; those that are neither numbers nor texts become texts."""
    polars = demo_module("polars", "polars", "a .parquet file")
    try:
        with source.open_as_it_is() as file:
            _check_size(polars, source, file)
            file.seek(0)
            frame = polars.read_parquet(file)
    except OSError as error:
        raise InputError(f"{source.name}: cannot be read: {error.strerror or error}") from error
    except (polars.exceptions.PolarsError, polars.exceptions.PanicException) as error:
        reason, *_ = str(error).splitlines() or [type(error).__name__]  # some Polars add the query
        raise InputError(f"{source.name}: cannot be read as .parquet: {reason}") from error
    columns = tuple(_column(polars, source, frame, name) for name in frame.columns)
    if not columns or not len(columns[0]):
        raise InputError(f"{source.name}: expected rows, got none")
    return Table(source.name, columns, True)


def _check_size(polars: Any, source: Source, file: BinaryIO) -> None:
    """Refuse more cells than memory holds: rows that are alike take next to nothing in the file."""
    rows = polars.scan_parquet(file).select(polars.len()).collect().item()
    file.seek(0)
    width = len(polars.read_parquet_schema(file))
    size, most = rows * width * CELL_BYTES, most_unpacked()
    if size > most:
        raise InputError(
            f"{source.name}: its {rows} rows of {width} columns would take {size} bytes, expected "
            f"{most} at most"
        )


def _column(polars: Any, source: Source, frame: Any, name: str) -> Column:
    # Out of the frame, so that no column is there twice for long.
    series = frame.drop_in_place(name)
    if series.dtype.is_nested():
        raise InputError(
            f"{source.name}, column {name}: expected numbers or text, got {series.dtype}"
        )
    if series.dtype.is_numeric():
        if series.dtype in (polars.Int64, polars.UInt64) and not series.null_count():
            return Numbers(name, series.to_numpy())
        numbers = series.cast(polars.Float64)
        if series.dtype.is_float() or _same(series, numbers):
            return Numbers(name, numbers.to_numpy())
    cells = series.cast(polars.String)
    levels = cells.drop_nulls().unique(maintain_order=True)
    codes = cells.cast(polars.Enum(levels)).to_physical().cast(polars.Int32).fill_null(-1)
    return Texts(name, codes.to_numpy(), tuple(levels.to_list()))


def _same(series: Any, numbers: Any) -> bool:
    """Return whether float64 has rounded no number, as it does beyond 2^53."""
    return bool((numbers.cast(series.dtype, strict=False).eq_missing(series)).all())
