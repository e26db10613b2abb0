"""Whole numbers beyond 2^53, which float64 rounds: labels, and columns that are carried."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

from softstep.cli.data.column import Numbers, interpreted
from softstep.cli.data.dataset import read_table
from softstep.cli.data.dialect import Reading
from softstep.cli.data.label import LABEL_NAMES, find_label
from softstep.cli.data.labels import encode
from softstep.cli.data.table import Table
from softstep.cli.errors import InputError
from tests.cli.command_line import SMALL, softstep

EXACT = 2**53
LABELS = {
    "int64": [EXACT + k % 3 for k in range(12)],
    "below": [-EXACT - k % 3 for k in range(12)],
    "uint64": [2**64 - 1 - k % 3 for k in range(12)],
}


def read(path: Path) -> Table:
    return read_table(str(path), Reading(), LABEL_NAMES, quiet=True)


def classes(path: Path) -> list[str]:
    """Return the names of the classes; each row has the one that is its label."""
    table = read(path)
    label = find_label(table, None)
    assert label is not None
    codes, names = encode(table, label)
    assert [names[code] for code in codes] == label.column.texts().cells()
    return names


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("suffix", ["csv", "slow", "arff", "parquet", "npz", "npy"])
def test_labels(suffix: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels, path = LABELS[kind], tmp_path / f"t.{suffix}"
    dtype = np.uint64 if kind == "uint64" else np.int64
    lines = "".join(f"{k},{label}\n" for k, label in enumerate(labels))
    if suffix == "slow":
        monkeypatch.setitem(sys.modules, "polars", None)
    if suffix in ("csv", "slow"):
        path.write_text("x,y\n" + lines)
    elif suffix == "arff":
        path.write_text("@relation r\n@attribute x real\n@attribute y real\n@data\n" + lines)
    elif suffix == "parquet":
        polars = pytest.importorskip("polars")
        y = polars.Series(np.array(labels, dtype))
        polars.DataFrame({"x": np.arange(12), "y": y}).write_parquet(path)
    elif suffix == "npz":
        np.savez(path, X=np.arange(12.0)[:, None], y=np.array(labels, dtype))
    else:
        np.save(path, np.array([np.arange(12), labels], dtype).T if labels[0] > 0 else
                np.array([range(12), labels]).T)  # fmt: skip
    assert classes(path) == list(map(str, sorted(set(labels))))


def test_labels_with_a_point_or_an_exponent(tmp_path: Path) -> None:
    rows = [f"{EXACT}.0", f"{EXACT + 1}.0", f"{EXACT + 1}", "9007199254740992e0", "5.0"] * 2
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"1,{row}\n" for row in rows))
    table = read(tmp_path / "t.csv")
    label = find_label(table, None)
    assert label is not None
    codes, names = encode(table, label)
    assert names == ["5", str(EXACT), str(EXACT + 1)] and codes[:5].tolist() == [1, 2, 2, 1, 0]


def test_a_refusal_without_advice_ends_there(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", X=np.arange(9.0)[:, None], y=np.full(9, 2**64 - 1, np.uint64))
    with pytest.raises(InputError, match=rf"got only '{2**64 - 1}'$"):
        classes(tmp_path / "t.npz")


def test_features_stay_numbers(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x,y\n" + f"{EXACT + 1},a\n,b\n1e300,a\n-5,b\n")
    meant = interpreted(read(tmp_path / "t.csv").columns[0].tidied([""]))
    assert isinstance(meant, Numbers)
    np.testing.assert_array_equal(meant.values, [EXACT + 1, np.nan, 1e300, -5])


def test_columns_of_parquet_are_carried_as_they_are(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    signed = [2**63 - 1 - k for k in range(12)]
    cells = {
        "signed": polars.Series(signed),
        "unsigned": polars.Series([2**64 - 1 - k for k in range(12)], dtype=polars.UInt64),
        "gaps": polars.Series([None, *signed[1:]]),
        "decimal": polars.Series([f"{EXACT + k}.25" for k in range(12)]).cast(
            polars.Decimal(30, 2)
        ),
        "small": polars.Series(range(12), dtype=polars.Int8),
    }
    frame = polars.DataFrame({"x": np.arange(12) % 3, "y": LABELS["int64"], **cells})
    frame.write_parquet(tmp_path / "t.parquet")
    words = ["--data", "t.parquet", "--drop", *cells, "--output", "run", "--quiet", *SMALL]
    softstep("train", *words, cwd=tmp_path)
    words = ["--weights", "run/weights.npz", "--data", "t.parquet", "--no-probabilities"]
    stdout, stderr = softstep("predict", *words, cwd=tmp_path)
    rows = list(csv.DictReader(stdout.splitlines()))
    for name, column in cells.items():
        expected = ["" if cell is None else str(cell) for cell in column.to_list()]
        assert [row[name] for row in rows] == expected
    assert {row["prediction"] for row in rows} <= set(map(str, LABELS["int64"]))
    assert "(12 rows)" in stderr or "of 12 rows" in stderr
