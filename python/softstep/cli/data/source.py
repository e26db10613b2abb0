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
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from softstep.cli.data.memory import most_unpacked
from softstep.cli.errors import InputError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

STDIN = "-"
PACKED: dict[str, tuple[bytes, Callable[..., object]]] = {
    ".gz": (b"\x1f\x8b", gzip.open),
    ".bz2": (b"BZh", bz2.open),
    ".xz": (b"\xfd7zXZ\x00", lzma.open),
}
ZIP = b"PK\x03\x04"
BLOCK = 1 << 18


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
                    yield file if unpacked is None else _bounded(self.name, unpacked)
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
def _unpacked(name: str, file: BinaryIO, start: bytes) -> Iterator[IO[bytes] | None]:
    """Yield what is in the file, or None if it is not packed."""
    for mark, opener in PACKED.values():
        if start.startswith(mark):
            with cast("IO[bytes]", opener(file)) as unpacked:
                yield unpacked
            return
    if not start.startswith(ZIP):
        yield None
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
        try:
            unpacked = archive.open(members[0])
        except RuntimeError as error:
            # Encrypted, or by a method that this Python lacks.
            raise InputError(f"{name}: cannot be unpacked: {error}") from error
        with unpacked:
            yield unpacked


class _Bounded(io.RawIOBase):
    """The bytes of ``file``, and an error instead of more than ``most`` of them."""

    def __init__(self, name: str, file: IO[bytes], most: int) -> None:
        self._name, self._file, self._most, self._left = name, file, most, most

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read the next bytes."""
        view = memoryview(buffer)
        read = self._file.read(len(view))
        self._left -= len(read)
        if self._left < 0:
            raise InputError(
                f"{self._name}: expected at most {self._most} bytes unpacked, got more"
            )
        view[: len(read)] = read
        return len(read)


def _bounded(name: str, file: IO[bytes]) -> BinaryIO:
    return io.BufferedReader(_Bounded(name, file, most_unpacked()), BLOCK)
