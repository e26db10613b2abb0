"""The bytes of a file: plain, compressed, or from standard input."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from softstep.cli.errors import InputError

STDIN = "-"
PACKED: dict[str, tuple[bytes, Callable[..., object]]] = {
    ".gz": (b"\x1f\x8b", gzip.open),
    ".bz2": (b"BZh", bz2.open),
    ".xz": (b"\xfd7zXZ\x00", lzma.open),
}
ZIP = b"PK\x03\x04"


@dataclass(frozen=True)
class Source:
    """A file that can be opened again and again; standard input is read once and kept."""

    name: str
    # Of the file without its packing.
    suffix: str
    content: bytes | None = None

    @classmethod
    def of(cls, data: str) -> Source:
        """Return the source that ``--data`` names."""
        if data == STDIN:
            return cls("standard input", "", sys.stdin.buffer.read())
        path = Path(data)
        if path.exists() and not (path.is_file() or path.is_dir()):
            # A pipe, as of a shell's <(...).
            return cls(data, "", path.read_bytes())
        suffixes = [suffix.lower() for suffix in path.suffixes]
        packed = suffixes and suffixes[-1] in (*PACKED, ".zip")
        suffix = suffixes[-2:-1] if packed else suffixes[-1:]
        return cls(data, suffix[0] if suffix else "")

    def size(self) -> int | None:
        """Return how many bytes there are, if that is known before they are unpacked."""
        if self.content is not None:
            return len(self.content)
        packed = Path(self.name).suffix.lower() in (*PACKED, ".zip")
        return None if packed else Path(self.name).stat().st_size

    def start(self, count: int) -> bytes:
        """Return the first ``count`` bytes."""
        with self.open() as file:
            return file.read(count)

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Yield the unpacked bytes."""
        try:
            with self.open_as_it_is() as file:
                start = file.read(8)
                file.seek(0)
                with _unpacked(self.name, file, start) as unpacked:
                    yield unpacked
        except (
            EOFError,
            gzip.BadGzipFile,
            lzma.LZMAError,
            zlib.error,
            zipfile.BadZipFile,
        ) as error:
            raise InputError(f"{self.name}: cannot be unpacked: {error}") from error
        except OSError as error:
            raise InputError(f"{self.name}: cannot be read: {error.strerror or error}") from error

    def open_as_it_is(self) -> BinaryIO:
        """Return the file, still packed if it is."""
        if self.content is not None:
            return io.BytesIO(self.content)
        return open(self.name, "rb")


@contextmanager
def _unpacked(name: str, file: BinaryIO, start: bytes) -> Iterator[BinaryIO]:
    for mark, opener in PACKED.values():
        if start.startswith(mark):
            with cast("BinaryIO", opener(file)) as unpacked:
                yield unpacked
            return
    if not start.startswith(ZIP):
        yield file
        return
    with zipfile.ZipFile(file) as archive:
        members = [
            member
            for member in archive.namelist()
            if not member.endswith("/") and not member.startswith("__MACOSX")
        ]
        if len(members) != 1:
            found = ", ".join(members[:8])
            raise InputError(f"{name}: expected one file in it, got {len(members)}: {found}")
        with archive.open(members[0]) as unpacked:
            yield cast("BinaryIO", unpacked)
