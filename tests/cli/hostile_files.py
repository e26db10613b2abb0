"""Archives that NumPy would not write: their parts are put together by hand."""

import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np


def npy(header: str, content: bytes = b"") -> bytes:
    """Return an .npy file of any header."""
    text = header.encode("latin-1")
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


def declared(descr: str, shape: tuple[int, ...], content: bytes = b"") -> bytes:
    """Return an .npy file that says it holds an array of this dtype and shape."""
    return npy(f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}\n", content)


def archive(
    path: Path,
    members: dict[str, bytes],
    method: int = zipfile.ZIP_STORED,
    like: Path | None = None,
) -> Path:
    """Write an archive of ``members``; those that it lacks are taken from the archive ``like``."""
    taken = {}
    if like is not None:
        with zipfile.ZipFile(like) as whole:
            taken = {name: whole.read(name) for name in whole.namelist()}
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in {**taken, **members}.items():
            file.writestr(name, content)
    return path


def bomb(path: Path, name: str, rows: int, columns: int) -> Path:
    """Write an archive of zeros, a thousandth of their size."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open(name, "w") as member:
        member.write(declared("<f8", (rows, columns)))
        for _ in range(rows):
            member.write(bytes(8 * columns))
    return path


def gzip_bomb(path: Path, megabytes: int) -> Path:
    """Write a gzip file of short rows: members one after the other are one text."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    member = packer.compress(b"1,2\n" * (1 << 18)) + packer.flush()
    path.write_bytes(member * megabytes)
    return path


HEADERS = {
    "more than there is": declared("<f4", (10**12,)),
    "a little more than there is": declared("<f4", (64,), bytes(255)),
    "items without bytes": declared("<U0", (10**12,)),
    "rows without columns": declared("<f4", (10**12, 0)),
    "a size beyond 64 bits": declared("<f4", (2**32, 2**32)),
    "a length beyond 64 bits": declared("<f4", (2**100,)),
    "negative": declared("<f4", (-1, -4), bytes(16)),
    "objects": declared("|O", (1,), b"cos\nsystem\n(S'touch hacked'\ntR."),
    "brackets": npy("(" * 90 + "\n"),
    "minus signs": npy("-" * 9000 + "1\n"),
    "an open text": npy("'''\n"),
    "indentation": npy("  1\n 2\n"),
    "no header": b"\x93NUMPY\x01\x00",
    "another version": b"\x93NUMPY\x03\x00" + declared("<f4", (1,), bytes(4))[8:],
    "no array": b"PK",
}


def peak_of(call: Callable[[], object]) -> int:
    """Return the most bytes that ``call`` held at a time, NumPy's included."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def savez(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path
