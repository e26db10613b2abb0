"""Kinds of files: told by what is in them where their names do not tell; archives of arrays."""

import gzip
import io
from pathlib import Path

import numpy as np
import pytest

from softstep.cli.data.dataset import read_table
from softstep.cli.data.dialect import Reading
from softstep.cli.data.label import LABEL_NAMES
from softstep.cli.data.table import Table
from softstep.cli.errors import InputError

ARFF = "% made\n\n@RELATION r\n@attribute w real\n@attribute class {a,b}\n@data\n1,a\n2,b\n"
KINDS = ["archive", "parquet", "arff", "packed"]
NAMES = ["t", "t.txt", "t.csv", "t.bin"]


def read(path: Path, content: bytes | None = None) -> Table:
    if content is not None:
        path.write_bytes(content)
    return read_table(str(path), Reading(), LABEL_NAMES, quiet=True)


def archive() -> bytes:
    file = io.BytesIO()
    np.savez(file, X=np.array([[1.0], [2.0]]), y=np.array(["a", "b"]))
    return file.getvalue()


def parquet() -> bytes:
    polars = pytest.importorskip("polars")
    file = io.BytesIO()
    polars.DataFrame({"w": [1.0, 2.0], "class": ["a", "b"]}).write_parquet(file)
    return file.getvalue()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "content", [archive, parquet, ARFF.encode, lambda: gzip.compress(ARFF.encode())], ids=KINDS
)
def test_tables_by_any_name(content: object, name: str, tmp_path: Path) -> None:
    table = read(tmp_path / name, content())  # type: ignore[operator]
    labels = table.columns[-1] if table.label is None else table.label
    assert (len(table), labels.texts().cells()) == (2, ["a", "b"])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"w": 1, "class": "a"}\n{"w": 2, "class": "b"}\n', "got JSON: save it as .csv"),
        ('[\n  {"w": 1}]', "got JSON"),
        ("\n<!DOCTYPE html>\n<html>", "got a page of the web or XML"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "a pointer of Git LFS"),
        ("+1 1:0.5 7:1e-3\n-1 2:3\n", "got svmlight's format"),
        ("ARROW1\0\0", "got Arrow's format"),
        ("t.csv" + "\0" * 252 + "ustar", "got an archive"),
    ],
)
def test_what_is_no_table(content: str, said: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        read(tmp_path / name, content.encode())


X = np.arange(12.0).reshape(4, 3)
Y = np.array([0, 1, 2, 1])
ARCHIVES = {
    "X, y": {"X": X, "y": Y},
    "positions": {"arr_0": X, "arr_1": Y},
    "data, target": {"data": X.astype(np.float32), "target": Y.astype("U1")},
    "images": {"x_train": X.reshape(4, 3, 1).astype(np.uint8), "y_train": Y[:, None]},
    "one-hot": {"X": X, "Y": np.eye(3)[Y]},
    "bytes": {"X": X, "labels": Y.astype("S1"), "other": np.array(["text"])},
}


@pytest.mark.parametrize("how", ARCHIVES)
def test_archives(how: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "table.npz", **ARCHIVES[how])
    table = read(tmp_path / "table.npz")
    assert np.array_equal(np.array([column.values for column in table.columns]).T, X)
    assert table.label.texts().cells() == ["0", "1", "2", "1"] and not table.held_out


def test_an_archive_with_rows_to_test_on(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", x_train=X, y_train=Y, x_test=X[:2] + 1, y_test=Y[:2])
    table = read(tmp_path / "t.npz")
    assert len(table) == 6 and table.held_out == 2
    assert table.columns[0].values.tolist() == [0, 3, 6, 9, 1, 4]


def test_sparse_archives(tmp_path: Path) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    matrix = sparse.csr_matrix(X)
    parts = {part: getattr(matrix, part) for part in ("data", "indices", "indptr", "shape")}
    np.savez(tmp_path / "a.npz", labels=Y, **{f"attr_{name}": part for name, part in parts.items()})
    sparse.save_npz(tmp_path / "b.npz", sparse.csc_matrix(X))
    for name, labelled in (("a", True), ("b", False)):
        table = read(tmp_path / f"{name}.npz")
        assert np.array_equal(np.array([column.values for column in table.columns]).T, X)
        assert (table.label is not None) == labelled
