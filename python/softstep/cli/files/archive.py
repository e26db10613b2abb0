"""Read an .npz archive of one of softstep's formats, or say what it is instead."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softstep.cli.errors import InputError

Arrays = dict[str, NDArray[Any]]


def read_archive(path: Path, form: str, what: str) -> Arrays:
    """Return the arrays of ``path``, which the array ``format`` says to be ``form``.

    ``what`` says in the errors what was expected. Every part is checked against its checksum.
    """
    problem = f"{path}: expected {what}"
    try:
        with open(path, "rb") as file:
            if not zipfile.is_zipfile(file):
                raise InputError(f"{problem}, got something else")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive}
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{problem}, got a damaged archive: {error}") from error
    if "format" not in arrays or str(arrays["format"]) != form:
        got = str(arrays["format"]) if "format" in arrays else ", ".join(arrays) or "nothing"
        raise InputError(f"{problem} (format {form}), got {got}")
    return arrays
