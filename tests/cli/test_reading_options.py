"""Cells and options that are off the track: read, or refused in one line."""

import argparse
import csv
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from softstep.cli.data.column import Column, Numbers, interpreted
from softstep.cli.data.dataset import read_table
from softstep.cli.data.dialect import Reading
from softstep.cli.data.options import reading_of
from softstep.cli.data.suspicion import counts
from softstep.cli.data.table import Table
from softstep.cli.errors import InputError

BODY = "a,b,c\n" + "1,2,x\n3,4,y\n" * 20


@pytest.fixture(params=["fast", "slow"], autouse=True)
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "slow":
        monkeypatch.setitem(sys.modules, "polars", None)
    else:
        pytest.importorskip("polars")


def read(path: Path, reading: Reading = Reading(), **more: bool) -> Table:  # noqa: B008
    return read_table(str(path), reading, ("a", "c"), quiet=True, **more)


def meant(column: Column) -> list[object]:
    found = interpreted(column)
    return found.values.tolist() if isinstance(found, Numbers) else found.cells()


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["1.234,56", "-2.000,5", "1.234.567,8"], [1234.56, -2000.5, 1234567.8]),
        (["1.234,56", "0,5", "17"], [1234.56, 0.5, 17]),
        (["12.34,56", "0,5", "1,5"], ["12.34,56", "0.5", "1.5"]),
        (["0.123,5", "0,5", "1,5"], ["0.123,5", "0.5", "1.5"]),
    ],
)
def test_points_between_thousands(cells: list[str], numbers: list[object], tmp_path: Path) -> None:
    rows = "".join(f"{cell};{k},5;x\n" for k, cell in enumerate(cells))
    (tmp_path / "t.csv").write_text("a;b;c\n" + rows)
    table = read(tmp_path / "t.csv")
    assert "decimal commas" in table.notes and meant(table.columns[0]) == numbers


def test_whole_thousands_that_come_late(tmp_path: Path) -> None:
    """Among others with commas they are thousands; alone they have a decimal point."""
    rows = "1.234,5;0,5;x\n" * 300 + "2.000;2.000;y\n"
    (tmp_path / "t.csv").write_text("a;b;c\n" + rows)
    columns = read(tmp_path / "t.csv").columns
    assert [meant(column)[-1] for column in columns[:2]] == [2000, 2]


def test_what_is_carried_keeps_its_commas(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a;b;c\n1.234,5;1.234,5;x\n0,5;0,5;y\n")
    a, b, _ = read(tmp_path / "t.csv", others_as_texts=True).columns
    assert meant(a) == [1234.5, 0.5] and b.texts().cells() == ["1.234,5", "0,5"]


def test_long_cells_and_long_lines(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    (tmp_path / "t.csv").write_text(f"{BODY}5,{'z' * (limit + 9)},x\n")
    assert len(read(tmp_path / "t.csv").columns[1].texts().cells()[-1]) == limit + 9
    # Cut at another sign the line is a single cell.
    wide = ",".join(["1.5"] * (limit // 3))
    (tmp_path / "wide.csv").write_text(f"{wide}\n{wide}\n")
    assert len(read(tmp_path / "wide.csv", Reading(header=False)).columns) == limit // 3
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize("sign", ["ab", "", '"', "\n"])
def test_separators_that_are_none(sign: str) -> None:
    args = argparse.Namespace(separator=sign, header=None, encoding=None, comment=None)
    with pytest.raises(InputError, match=r"^--separator: expected a sign, tab or spaces, got "):
        reading_of(args)


@pytest.mark.parametrize("sign", ["§", ".", "'"])
def test_odd_separators(sign: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(BODY.replace(",", sign))
    assert read(tmp_path / "t.csv", Reading(separator=sign)).names == ["a", "b", "c"]


@pytest.mark.parametrize(
    "encoding", ["foo", "hex", "rot13", "zlib", "undefined", "utf-16", "utf-32"]
)
@pytest.mark.parametrize("kind", ["csv", "arff"])
def test_encodings_that_are_none(encoding: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"t.{kind}"
    # Of an even number of bytes: half a sign would be refused as such.
    for text in (BODY, BODY + "\n"):
        path.write_text(text)
        with pytest.raises(InputError, match=f": --encoding {encoding}: ") as caught:
            read(path, Reading(encoding=encoding))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("comment", ["(", ".", "*"])
def test_comments_with_any_sign(comment: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"{BODY}{comment} no row\n")
    assert len(read(tmp_path / "t.csv", Reading(comment=comment))) == 40


def test_large_numbers_do_not_count() -> None:
    values = np.tile([1.7e308, -1.7e308], 20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not counts(Numbers("x", values))
