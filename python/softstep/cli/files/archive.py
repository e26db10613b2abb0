"""Read an .npz archive of one of softstep's formats, or say what it is instead."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from softstep.cli.errors import InputError
from softstep.cli.files.npy import Arrays, DamagedError, read_members

FORMAT = "format"
# Of our parameters and settings. What has other signs, as of a path, is none of our archives.
NAME = re.compile(r"[\w.]+")


def read_archive(
    path: Path, form: str, what: str, wanted: Callable[[str], bool] = lambda name: True
) -> Arrays:
    """Return the arrays of ``path`` that are ``wanted``, if the array ``format`` is ``form``.

    ``what`` says in the errors what was expected. Every part is checked against its checksum. As
    softstep packs nothing, the arrays take no more memory than the file has bytes.
    """
    problem = f"{path}: expected {what}"
    try:
        with open(path, "rb") as file:
            if not zipfile.is_zipfile(file):
                raise InputError(f"{problem}, got something else")
            size = os.fstat(file.fileno()).st_size
            arrays, names = read_members(file, size, lambda name: name == FORMAT or wanted(name))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except DamagedError as error:
        raise InputError(f"{problem}, got a damaged archive: {error}") from error
    if len(set(names)) < len(names) or not all(map(NAME.fullmatch, names)):
        raise InputError(f"{problem}, got members that it does not have: {names}"[:400])
    found = arrays.pop(FORMAT, None)
    if found is None or _text(found) != form:
        got = ", ".join(names) or "nothing" if found is None else _text(found)
        raise InputError(f"{problem} (format {form}), got {got}"[:400])
    return arrays


def texts_of(arrays: Arrays, name: str) -> list[str]:
    """Return a vector of texts; KeyError or ValueError if there is none of that name."""
    array = arrays[name]
    if array.ndim != 1 or array.dtype.kind != "U":
        raise ValueError(f"{name}: expected a vector of texts, got {_text(array)}")
    texts: list[str] = array.tolist()
    return texts


def text_of(arrays: Arrays, name: str) -> str:
    """Return a text; KeyError or ValueError if there is none of that name."""
    array = arrays[name]
    if array.ndim or array.dtype.kind != "U":
        raise ValueError(f"{name}: expected a text, got {_text(array)}")
    return str(array)


def json_of(arrays: Arrays, name: str) -> Any:
    """Return what a text says as JSON; KeyError or ValueError if there is none of that name."""
    try:
        return json.loads(text_of(arrays, name))
    except RecursionError as error:
        raise ValueError(f"{name}: expected JSON, got brackets without end") from error


def array_of(
    arrays: Arrays, name: str, dtype: DTypeLike, shape: tuple[int | None, ...]
) -> NDArray[Any]:
    """Return an array of this dtype and shape, of any length where that is None.

    KeyError or ValueError if there is none such.
    """
    array = arrays[name]
    fits = array.ndim == len(shape) and all(
        length in (None, got) for length, got in zip(shape, array.shape, strict=True)
    )
    if array.dtype != dtype or not fits:
        raise ValueError(
            f"{name}: expected {np.dtype(dtype)} of shape {shape}, got {array.dtype} of shape "
            f"{array.shape}"
        )
    return array


def finite_of(
    arrays: Arrays, name: str, dtype: DTypeLike, shape: tuple[int | None, ...]
) -> NDArray[Any]:
    """Return such an array of finite numbers."""
    array = array_of(arrays, name, dtype, shape)
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite numbers, got NaN or infinite ones")
    return array


def _text(array: NDArray[Any]) -> str:
    if array.dtype.kind == "U" and not array.ndim:
        return str(array)
    return f"{array.dtype} of shape {array.shape}"
