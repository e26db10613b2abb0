"""Read a text table: find out how it is written, then read its rows, fast where polars is there."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from softstep.cli.data.column import MISSING, Column, Numbers, parsed
from softstep.cli.data.dialect import (
    SAMPLE_BYTES,
    Dialect,
    Reading,
    cut,
    find_dialect,
    is_comment,
    pointed,
    western,
)
from softstep.cli.data.fast import NotAsExpected, read_fast
from softstep.cli.data.header import Header, find_header
from softstep.cli.data.lines import Lines
from softstep.cli.data.slow import read_slow
from softstep.cli.data.source import Source
from softstep.cli.data.table import Table, matching
from softstep.cli.errors import InputError
from softstep.training.progress import open_bytes


def read_text(
    source: Source,
    reading: Reading,
    known: Collection[str],
    quiet: bool,
    others_as_texts: bool = False,
) -> Table:
    """Read a text table; ``known`` are names by which a header line is told from a row."""
    start = source.start(SAMPLE_BYTES)
    whole = len(start) < SAMPLE_BYTES
    dialect, sample = find_dialect(source.name, start, whole, reading)
    header = find_header(sample, dialect, reading, known)
    table = [line for line in sample if line.strip() and not is_comment(line, dialect.comment)]
    others = [
        position
        for position, name in enumerate(header.names)
        if others_as_texts and header.named and not matching(list(known), name)
    ]
    try:
        return read_rows(source, dialect, header, table[header.lines :], quiet, others)
    except UnicodeError as error:
        if reading.encoding is None and dialect.encoding.startswith("utf-8"):
            with source.open() as file:
                encoding = western(file.read())
            return read_text(
                source, replace(reading, encoding=encoding), known, quiet, others_as_texts
            )
        said = f"--encoding {dialect.encoding}" if reading.encoding else "expected text"
        raise InputError(f"{source.name}: {said}: {error}") from error


def read_rows(
    source: Source,
    dialect: Dialect,
    header: Header,
    sample: Sequence[str],
    quiet: bool,
    texts: Sequence[int] = (),
) -> Table:
    """Read the rows below ``header``; ``sample`` are the lines of the first of them.

    The columns at the positions ``texts`` are texts, whatever is in them.
    """
    if not header.names:
        raise InputError(f"{source.name}: expected rows of numbers and a label, got an empty file")
    lines = Lines(source, dialect, dialect.skipped + header.lines)
    columns, more = _columns(lines, header, {*texts, *_texts(sample, dialect, header)}, quiet)
    if not columns or not len(columns[0]):
        raise InputError(f"{source.name}: expected rows below the header, got none")
    if dialect.decimal_comma:
        columns = [
            column
            if position in texts or isinstance(column, Numbers)
            else column.recoded(pointed(column.levels))
            for position, column in enumerate(columns)
        ]
    notes = [*dialect.described(), *header.notes, *more]
    return Table(source.name, tuple(columns), header.named, tuple(notes), locate=lines.place)


def _columns(
    lines: Lines, header: Header, texts: Collection[int], quiet: bool
) -> tuple[list[Column], list[str]]:
    try:
        polars: Any = importlib.import_module("polars")
    except ImportError:
        note = 'read by Python, slowly: pip install "softstep[demo]" brings polars'
        return read_slow(lines, header.names), [note]
    dialect = lines.dialect
    if (dialect.decimal_comma and dialect.separator == ",") or not dialect.separator.isascii():
        # Which polars refuses.
        return read_slow(lines, header.names), []
    with open_bytes(f"reading {lines.source.name}", lines.source.size(), quiet) as progress:
        try:
            return read_fast(polars, lines, header.names, texts, progress), []
        except NotAsExpected:
            return read_slow(lines, header.names), []


def _texts(sample: Sequence[str], dialect: Dialect, header: Header) -> set[int]:
    """Return the positions of the columns that hold texts in the first rows."""
    positions = set()
    for row in cut(sample, dialect):
        for position, cell in enumerate(row[: len(header.names)]):
            if cell not in MISSING and parsed(cell) is None:
                positions.add(position)
    return positions
