"""Read a data set: the embedded digits, or a file of whatever kind."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from softstep.cli.data.arff import read_arff
from softstep.cli.data.arrays import read_arrays
from softstep.cli.data.column import Numbers
from softstep.cli.data.dialect import Reading
from softstep.cli.data.kind import ARFF, ARRAYS, PARQUET, kind_of
from softstep.cli.data.parquet import read_parquet
from softstep.cli.data.source import Source
from softstep.cli.data.table import Table
from softstep.cli.data.text import read_text
from softstep.cli.extras import demo_module

DATA_HELP = """\
data:
  digits       scikit-learn's 1797 handwritten digits of 8 x 8 pixels
  FILE         a text table (.csv, .tsv, .txt, .data, ...), a row per line, its cells separated by
               commas, semicolons, tabs or spaces, with a header line or without; .arff; .parquet;
               .npz with arrays X and y (or x_train and y_train, arr_0 and arr_1, sparse ones);
               text also packed as .gz, .bz2, .xz, .zip
  -            any of them on standard input"""


def read_table(
    data: str,
    reading: Reading,
    known: Collection[str],
    *,
    quiet: bool,
    others_as_texts: bool = False,
) -> Table:
    """Read what ``--data`` names; ``known`` are names by which a header is told from a row.

    ``others_as_texts``: columns with names that are not known are kept as they are in the file.
    """
    if data == "digits":
        return _read_digits()
    source = Source.of(data)
    kind = kind_of(source)
    if kind == ARRAYS:
        return read_arrays(source)
    if kind == PARQUET:
        return read_parquet(source)
    if kind == ARFF:
        return read_arff(source, reading, quiet)
    return read_text(source, reading, known, quiet, others_as_texts)


def _read_digits() -> Table:
    datasets = demo_module("sklearn.datasets", "scikit-learn", "the digits data set")
    digits = datasets.load_digits()
    pixels = np.ascontiguousarray(digits.data.T)
    columns = tuple(Numbers(str(position), values) for position, values in enumerate(pixels))
    labels = Numbers("y", digits.target.astype(np.float64))
    return Table("digits", columns, label=labels, apart=True)
