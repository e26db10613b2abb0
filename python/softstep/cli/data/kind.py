"""What kind of file it is: by its first bytes, or else by its name."""

from __future__ import annotations

import re
import zipfile
from typing import BinaryIO

from softstep.cli.data.source import ZIP, Source
from softstep.cli.errors import InputError

PARQUET, ARRAYS, ARFF, TEXT = ".parquet", ".npz", ".arff", ".csv"
# How a table begins that is read by what its name does not say.
BEGINNINGS = ((b"PAR1", PARQUET), (b"\x93NUMPY", ARRAYS))
BY_SUFFIX = {PARQUET: PARQUET, ".npz": ARRAYS, ".npy": ARRAYS, ARFF: ARFF}
RELATION = re.compile(rb"(?:\s*%[^\n]*\n|\s*\n)*\s*@relation\s", re.IGNORECASE)
SAVE = "save it as .csv"
FOREIGN_SUFFIXES = {
    ".xls": "a spreadsheet", ".xlsx": "a spreadsheet", ".ods": "a spreadsheet",
    ".json": "JSON", ".pkl": "a pickle", ".pickle": "a pickle", ".mat": "MATLAB's format",
    ".h5": "HDF5", ".hdf5": "HDF5", ".feather": "Arrow's format", ".tar": "an archive",
    ".tgz": "an archive",
}  # fmt: skip
FOREIGN = (
    (rb'\{\s*"|\[\s*[\[{]', f"JSON: {SAVE}"),
    (rb"(?i)<(?:!doctype|html|\?xml)", "a page of the web or XML: fetch the file itself"),
    (rb"version https://git-lfs", "a pointer of Git LFS: `git lfs pull` fetches the file itself"),
    (rb"ARROW1", f"Arrow's format: {SAVE}"),
    (rb"(?s).{257}ustar", "an archive: unpack it"),
    (
        rb"[+-]?[\d.]+(?: +qid:\d+)?(?: +\d+:[-+.\deE]+)+ *[\r\n#]",
        "svmlight's format, which sklearn.datasets.load_svmlight_file reads: save its arrays as "
        "X and y in an .npz",
    ),
)
EXPECTED = "expected a table of text, .parquet or .npz, got"
START = 1 << 12


def kind_of(source: Source) -> str:
    """Return PARQUET, ARRAYS, ARFF or TEXT, or refuse what is none of them."""
    if source.suffix in FOREIGN_SUFFIXES:
        raise InputError(f"{source.name}: {EXPECTED} {FOREIGN_SUFFIXES[source.suffix]}: {SAVE}")
    if source.suffix in BY_SUFFIX:
        return BY_SUFFIX[source.suffix]
    try:
        with source.open_as_it_is() as file:
            start = file.read(8)
            for mark, kind in BEGINNINGS:
                if start.startswith(mark):
                    return kind
            if start.startswith(ZIP) and _holds_arrays(file):
                return ARRAYS
    except OSError as error:
        raise InputError(f"{source.name}: cannot be read: {error.strerror or error}") from error
    start = source.start(START).removeprefix(b"\xef\xbb\xbf").lstrip()
    for pattern, what in FOREIGN:
        if re.match(pattern, start):
            raise InputError(f"{source.name}: {EXPECTED} {what}")
    return ARFF if RELATION.match(start) else TEXT


def _holds_arrays(file: BinaryIO) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)
