"""The lines of a text table: as bytes for a fast parser, or cut into cells one by one."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

import numpy as np

from softstep.cli.data.dialect import SPACES, Dialect, is_comment, rows_of
from softstep.cli.data.source import Source
from softstep.cli.errors import InputError

# Bytes of a chunk; of a piece of it that stays in the cache.
CHUNK, PIECE = 1 << 22, 1 << 16


@dataclass(frozen=True)
class Lines:
    """The rows of a text table: its lines after ``before`` that are no comments."""

    source: Source
    dialect: Dialect
    before: int = 0

    def chunks(self) -> Iterator[tuple[bytes, int]]:
        """Yield bytes in UTF-8 of whole rows, tidied, and how many bytes of the file were read."""
        left = self.before
        with self.source.open() as file:
            for chunk, done in _whole_rows(
                _blocks(file, self.dialect.encoding), self.dialect.quote
            ):
                tidy = self._tidied(chunk)
                if left:
                    tidy, left = _without_first(tidy, left)
                if tidy:
                    yield tidy, done

    def _tidied(self, chunk: bytes) -> bytes:
        dialect = self.dialect
        if dialect.comment:
            chunk = re.sub(
                rb"(?m)^[ \t]*" + re.escape(dialect.comment.encode()) + rb"[^\n]*\n?", b"", chunk
            )
        if dialect.separator == SPACES:
            chunk = re.sub(rb"[ \t\r]+\n|\n[ \t]+", b"\n", re.sub(rb"[ \t]+", b" ", chunk))
            chunk = chunk.strip(b" ")
        elif dialect.padded:
            separator, quote = dialect.separator.encode(), dialect.quote.encode()
            spaced = rb" *" + re.escape(separator) + rb" *"
            if quote in chunk:
                quoted = quote + rb"[^" + quote + rb"]*" + quote + rb"|"
                chunk = re.sub(
                    quoted + spaced,
                    lambda match: match[0] if match[0].startswith(quote) else separator,
                    chunk,
                )
            else:
                chunk = re.sub(spaced, lambda match: separator, chunk)
            chunk = re.sub(rb" +(\r?\n)|(\n) +", rb"\1\2", chunk).strip(b" ")
        return chunk

    def cells(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the number of the line and the cells of each row, blank lines left out."""
        yield from islice(self._rows(), self.before, None)

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        dialect = self.dialect
        with self.source.open() as file:
            text = io.TextIOWrapper(file, dialect.encoding, newline="")
            try:
                yield from self._parsed(text)
            finally:
                text.detach()

    def _parsed(self, text: io.TextIOBase) -> Iterator[tuple[int, list[str]]]:
        dialect, numbers = self.dialect, [0]
        spaces = dialect.separator == SPACES

        def lines() -> Iterator[str]:
            for line in text:
                numbers[0] += 1
                if line.strip() and not is_comment(line, dialect.comment):
                    yield " ".join(line.split()) + "\n" if spaces else line

        try:
            for row in rows_of(lines(), dialect):
                yield numbers[0], row
        except csv.Error as error:
            raise InputError(
                f"{self.source.name}, line {numbers[0]}: cannot be read: {error}"
            ) from error

    def place(self, row: int) -> str:
        """Say in which line ``row`` is."""
        found = next(islice(self.cells(), row, None), None)
        return f"row {row}" if found is None else f"line {found[0]}"


def _blocks(file: BinaryIO, encoding: str) -> Iterator[tuple[bytes, int]]:
    """Yield whole lines in UTF-8, and how many bytes of the file were read."""
    done, utf8 = 0, encoding in ("utf-8", "utf-8-sig")
    # Of UTF-16 half a sign may look like the end of a line.
    size = CHUNK if utf8 or "\n".encode(encoding) == b"\n" else -1
    while block := file.read(size):
        if not block.endswith(b"\n"):
            block += file.readline()
        first, done = done == 0, done + len(block)
        if not utf8:
            block = block.decode(encoding).encode()
        elif first:
            block = block.removeprefix(codecs.BOM_UTF8)
        if b"\n" not in block and b"\r" in block:
            block = block.replace(b"\r", b"\n")
        yield block, done


def _whole_rows(blocks: Iterator[tuple[bytes, int]], quote: str) -> Iterator[tuple[bytes, int]]:
    """Join the blocks that end within quotes with those that follow."""
    rest, done, mark = b"", 0, quote.encode()
    for block, done in blocks:
        rest += block
        if mark in rest and rest.count(mark) % 2:
            continue
        yield rest, done
        rest = b""
    if rest.strip():
        yield rest, done


def _without_first(chunk: bytes, lines: int) -> tuple[bytes, int]:
    """Return the chunk without its first ``lines`` lines that are not blank."""
    at = 0
    while lines and at < len(chunk):
        end = chunk.find(b"\n", at) + 1 or len(chunk)
        lines -= bool(chunk[at:end].strip())
        at = end
    return chunk[at:], lines


def without_blank(chunk: bytes) -> bytes:
    """Return the chunk without its blank lines."""
    return re.sub(rb"\n(?:\r?\n)+", b"\n", chunk).lstrip(b"\r\n")


def widths_differ(chunk: bytes, separator: str, width: int) -> bool:
    """Return whether rows of ``chunk``, in which are no quotes, have not ``width`` cells each."""
    cells, rows, signs = 0, int(not chunk.endswith(b"\n")), np.frombuffer(chunk, np.uint8)
    for first in range(0, len(signs), PIECE):
        piece = signs[first : first + PIECE]
        cells += int(np.count_nonzero(piece == ord(separator)))
        rows += int(np.count_nonzero(piece == ord("\n")))
    return cells != rows * (width - 1)


def excess(row: Sequence[str], width: int) -> bool:
    """Return whether a row has cells beyond ``width`` that are not empty."""
    return any(row[width:])
