"""Read a data set: the embedded digits, an .npz or a .csv file."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from softstep.cli.data.csv import read_csv
from softstep.cli.data.table import Table
from softstep.cli.errors import InputError
from softstep.cli.extras import demo_module

DATA_HELP = """\
data:
  digits     scikit-learn's 1797 handwritten digits of 8 x 8 pixels
  FILE.npz   arrays X (rows, features) of numbers and y (rows,) of class labels
  FILE.csv   comma-separated numbers, a row per line, and one column of labels; a first line
             without a number in it is the header
Labels are whole numbers or text."""


def read_table(
    source: str,
    label_column: str | None,
    *,
    expected: int | None = None,
    remembered: str | None = None,
) -> Table:
    """Read ``source``: ``digits`` or a path.

    For saved weights, ``expected`` is their number of features (labels may be missing then) and
    ``remembered`` the label column at training, used if the user names none.
    """
    try:
        if source == "digits":
            table = _read_digits()
        elif Path(source).suffix.lower() == ".npz":
            table = _read_npz(source)
        elif Path(source).suffix.lower() == ".csv":
            table = read_csv(source, label_column or remembered, expected)
        else:
            raise InputError(f"--data: expected digits, a .npz or a .csv file, got {source!r}")
    except OSError as error:
        raise InputError(f"{source}: cannot be read: {error.strerror or error}") from error
    got = table.features.shape[1]
    if expected not in (None, got):
        raise InputError(f"{source}: expected {expected} features, as in training, got {got}")
    if label_column is not None and not table.label_column:
        raise InputError(f"--label-column {label_column}: there is no label column in {source}")
    table.check_finite()
    return table


def _read_digits() -> Table:
    datasets = demo_module("sklearn.datasets", "scikit-learn", "the digits data set")
    digits = datasets.load_digits()
    return Table("digits", digits.data, digits.target, _positions(digits.data.shape[1]))


def _read_npz(source: str) -> Table:
    with open(source, "rb") as file:
        if not zipfile.is_zipfile(file):
            raise InputError(f"{source}: expected an .npz archive as numpy.savez writes it")
        file.seek(0)
        try:
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in ("X", "y") if name in archive}
                names = ", ".join(archive) or "none"
        except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(f"{source}: cannot be read as .npz: {error}") from error
    if "X" not in arrays:
        raise InputError(f"{source}: expected an array X (rows, features), got arrays: {names}")
    features, labels = arrays["X"], arrays.get("y")
    if features.ndim != 2 or 0 in features.shape:
        raise InputError(f"{source}: X: expected shape (rows, features), got {features.shape}")
    if features.dtype.kind not in "fiub":
        raise InputError(f"{source}: X: expected numbers, got dtype {features.dtype}")
    if labels is not None and labels.shape != (len(features),):
        raise InputError(f"{source}: y: expected shape ({len(features)},), got {labels.shape}")
    columns = _positions(features.shape[1])
    return Table(source, np.asarray(features, np.float64), labels, columns)


def _positions(count: int) -> tuple[str, ...]:
    return tuple(str(column) for column in range(count))
