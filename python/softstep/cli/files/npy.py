"""Read arrays of .npy and .npz files that may hold anything, in no more memory than was allowed.

No pickle is read and nothing is extracted: the names of an archive's members are keys.
"""

from __future__ import annotations

import math
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

SUFFIX = ".npy"
# The packings that NumPy writes: others need much memory, or are not there everywhere.
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# Lengths beside a 0 take no bytes in the file, but time and memory wherever rows are walked.
MOST_BESIDE_NONE = 1 << 20
# NumPy writes version 3 for structures with names beyond Latin 1 only.
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class DamagedError(Exception):
    """What is wrong with a file of arrays, in one line."""


def read_members(
    file: BinaryIO, most: int, wanted: Callable[[str], bool]
) -> tuple[Arrays, list[str]]:
    """Return the arrays of an .npz archive whose names are ``wanted``, and all names.

    DamagedError if they are said to take more than ``most`` bytes, or if anything is amiss.
    """
    with _damage_named(), zipfile.ZipFile(file) as archive:
        members = [member for member in archive.infolist() if member.filename.endswith(SUFFIX)]
        names = [member.filename.removesuffix(SUFFIX) for member in members]
        chosen = {name: member for name, member in zip(names, members, strict=True) if wanted(name)}
        size = sum(member.file_size for member in chosen.values())
        if size > most:
            raise DamagedError(f"its arrays would take {size} bytes, expected {most} at most")
        return {name: _member(archive, each, name) for name, each in chosen.items()}, names


def read_alone(file: BinaryIO, size: int, most: int) -> NDArray[Any]:
    """Return the array of an .npy file of ``size`` bytes."""
    if size > most:
        raise DamagedError(f"its array would take {size} bytes, expected {most} at most")
    with _damage_named():
        return _array(file, size)


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> NDArray[Any]:
    if member.compress_type not in PACKINGS:
        raise DamagedError(f"{name}: expected a member as numpy.savez packs it")
    with archive.open(member) as file:
        return _array(file, member.file_size)


def _array(file: IO[bytes], size: int) -> NDArray[Any]:
    """Return an array that is in the ``size`` bytes of ``file``: what it declares is there."""
    version = npy.read_magic(file)
    if version not in HEADERS:
        raise DamagedError(f"expected version 1.0 or 2.0 of the format, got {version}")
    shape, _, dtype = HEADERS[version](file)
    if dtype.itemsize == 0:
        raise DamagedError(f"expected items of a byte or more, got dtype {dtype!r}")
    declared = math.prod(length or 1 for length in shape) * dtype.itemsize
    if declared > (max(size, MOST_BESIDE_NONE) if 0 in shape else size):
        raise DamagedError(
            f"it declares an array of shape {shape} and dtype {dtype}, {declared} bytes, and has "
            f"{size}"
        )
    file.seek(0)
    array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
    if dtype.kind == "U":
        _check_characters(array)
    return array


def _check_characters(texts: NDArray[Any]) -> None:
    """Refuse numbers that are no characters: Python cannot make a text of them, or not print it."""
    codes = np.ascontiguousarray(texts).reshape(-1).view(texts.dtype.byteorder + "u4")
    if ((codes > sys.maxunicode) | ((codes >= 0xD800) & (codes <= 0xDFFF))).any():
        raise DamagedError("it has texts with numbers that are no characters")


@contextmanager
def _damage_named() -> Iterator[None]:
    """Turn into a DamagedError whatever zipfile and NumPy raise, but for what the system says."""
    try:
        yield
    except (DamagedError, OSError):
        raise
    # Headers are parsed as Python: a SyntaxError, a TokenError, a RecursionError and more come.
    except Exception as error:
        raise DamagedError(f"{error or type(error).__name__}") from error
