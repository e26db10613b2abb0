"""Files as people have them: read alike by polars and without it, with what was found out."""

import bz2
import gzip
import io
import lzma
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from softstep.cli.data import lines
from softstep.cli.data.column import Numbers, interpreted
from softstep.cli.data.dataset import read_table
from softstep.cli.data.dialect import Reading
from softstep.cli.data.label import LABEL_NAMES
from softstep.cli.data.selection import tidied
from softstep.cli.data.table import Table

ROWS = [(1, 2.5, "a"), (3, 4, "b"), (1, -3e2, "a"), (4, 4, "b"), (1, 2.5, "a"), (3.5, 0, "b")]
BODY = "".join(f"{w},{h},{c}\n" for w, h, c in ROWS)
TABLE = "w,h,class\n" + BODY
QUOTED = "".join(f'"{line}"\n' for line in TABLE.replace(",", '", "').splitlines())
NAMES = ["w", "h", "class"]
POSITIONS = ["0", "1", "2"]


@pytest.fixture(params=["fast", "slow"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "slow":
        monkeypatch.setitem(sys.modules, "polars", None)
    else:
        pytest.importorskip("polars")
    return str(request.param)


def read(path: Path, reading: Reading = Reading()) -> Table:  # noqa: B008
    return read_table(str(path), reading, LABEL_NAMES, quiet=True)


def values(table: Table) -> list[list[object]]:
    """Return each column as numbers or texts, None where one is missing."""
    columns: list[list[object]] = []
    for column in tidied(table, ("", "NA", "?")).columns:
        meant = interpreted(column)
        if isinstance(meant, Numbers):
            columns.append([None if np.isnan(value) else float(value) for value in meant.values])
        else:
            columns.append([cell or None for cell in meant.cells()])
    return columns


def notes(table: Table) -> list[str]:
    """Return what was said, but that polars is missing."""
    return [note for note in table.notes if "polars" not in note]


WRITTEN = {
    "comma": (TABLE, NAMES, []),
    "bare": (BODY, POSITIONS, ["no header line"]),
    "semicolon": (TABLE.replace(",", ";"), NAMES, ["separated by ';'"]),
    "tab": (TABLE.replace(",", "\t"), NAMES, ["separated by tab"]),
    "bar": (TABLE.replace(",", "|"), NAMES, ["separated by '|'"]),
    "spaces": (BODY.replace(",", "   "), POSITIONS, ["separated by spaces", "no header line"]),
    "aligned": (
        "".join(f"  {line}  \n" for line in BODY.replace(",", " \t ").splitlines()),
        POSITIONS,
        ["separated by tab", "no header line"],
    ),
    "tabs and spaces": (
        BODY.replace(",", "\t", 7).replace(",", "  "),
        POSITIONS,
        ["separated by spaces", "no header line"],
    ),
    "mark": ("\ufeff" + TABLE, NAMES, []),
    "quotes": (QUOTED, NAMES, []),
    "single quotes": (QUOTED.replace('"', "'"), NAMES, ["quoted by '"]),
    "padded": (TABLE.replace(",", " ,  "), NAMES, []),
    "windows": (TABLE.replace("\n", "\r\n"), NAMES, []),
    "mac": (TABLE.replace("\n", "\r"), NAMES, []),
    "blank lines": (TABLE.replace("\n", "\n\n") + "\n", NAMES, []),
    "unfinished": (TABLE.rstrip(), NAMES, []),
    "comments": ("# made\n# by hand\n" + TABLE + "# the end\n", NAMES, ["lines with # left out"]),
    "savetxt": (
        "# w,h,class\n" + BODY, NAMES, ["lines with # left out", "names from a comment"]
    ),
    "excel": ("sep=;\n" + TABLE.replace(",", ";"), NAMES, ["separated by ';'"]),
    "decimal commas": (
        TABLE.replace(",", ";").replace(".", ","), NAMES, ["separated by ';'", "decimal commas"]
    ),
    "trailing commas": (TABLE.replace("\n", ",\n"), [*NAMES, ""], []),
    "trailing in rows": ("w,h,class\n" + BODY.replace("\n", ",\n"), [*NAMES, ""], []),
    "one trailing": (TABLE + "1,2,a,\n", NAMES, []),
    "a name twice": (TABLE.replace("h", "w", 1), ["w", "w.1", "class"], []),
    "numbers as names": (TABLE.replace("w,h", "400.5,401"), ["400.5", "401", "class"], []),
}  # fmt: skip


@pytest.mark.parametrize("how", WRITTEN)
def test_ways_to_write_a_table(how: str, reader: str, tmp_path: Path) -> None:
    text, names, said = WRITTEN[how]
    (tmp_path / "table.csv").write_bytes(text.encode())
    table = read(tmp_path / "table.csv")
    expected = [list(column) for column in zip(*ROWS, strict=True)]
    if how == "one trailing":
        expected = [[*column, last] for column, last in zip(expected, (1, 2, "a"), strict=True)]
    assert (table.names, notes(table)) == (names, said)
    assert values(table)[:3] == expected
    assert all(cell is None for column in values(table)[3:] for cell in column)


HEADERS = {
    # As pandas, R and R's write.table number the rows.
    "pandas": (",w,h\n0,1,2\n1,3,4\n", ["", "w", "h"]),
    "a name too few": ('"w" "h"\n"1" 1 2\n"2" 3 4\n', ["", "w", "h"]),
    "positions": ("0,1,2,3\n4,9,2,0\n7,1,1,5\n", ["0", "1", "2", "3"]),
    "positions and a label": ("0,1,2,target\n4,9,2,0\n7,1,1,5\n", ["0", "1", "2", "target"]),
    "all texts, no header": ("p,x,s\ne,x,y\np,b,s\n", None),
    "all texts": ("cap,odor,kind\nx,a,e\nx,b,p\ny,a,e\ny,b,p\nx,b,e\n", ["cap", "odor", "kind"]),
    "texts and numbers, no header": ("vhigh,2,acc\nlow,3,acc\nlow,2,un\nvhigh,4,un\n", None),
    "y, no header": ("y,n,1\nn,y,2\ny,y,3\n", None),
    "spaces in cells": ("w,h,class\n5 kg,1,a\n7 kg,2,b\n", ["w", "h", "class"]),
    "a label in the header": ("y,y2\n1,2\n3,4\n", ["y", "y2"]),
}


@pytest.mark.parametrize("how", HEADERS)
def test_headers(how: str, reader: str, tmp_path: Path) -> None:
    text, names = HEADERS[how]
    (tmp_path / "table.csv").write_text(text)
    table = read(tmp_path / "table.csv")
    assert table.named == (names is not None)
    assert table.names == (names or [str(k) for k in range(len(table.columns))])
    assert len(table) == text.count("\n") - table.named


def test_what_is_found_out_can_be_said_instead(reader: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes("1,2;a\n#3,4;é\n".encode("cp1250"))
    said = Reading(separator=",", header=False, encoding="cp1250", comment="")
    assert values(read(path, said)) == [["1", "#3"], ["2;a", "4;é"]]
    assert read(path, Reading(header=True)).named
    assert read(path, Reading(separator="semicolon", comment="")).names == ["0", "1"]


@pytest.mark.parametrize(
    ("encoding", "name", "note"),
    [
        ("utf-8", "größe", []),
        ("latin-1", "größe", ["read as latin-1"]),
        ("cp1252", "preis in €", ["read as cp1252"]),
        ("utf-16", "größe", ["read as utf-16"]),
    ],
)
def test_encodings(encoding: str, name: str, note: list[str], reader: str, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(f"{name},class\n1,é\n2,ü\n".encode(encoding))
    table = read(tmp_path / "table.csv")
    assert table.names == [name, "class"] and notes(table) == note
    assert values(table) == [[1, 2], ["é", "ü"]]


def test_an_encoding_that_shows_late(reader: str, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(
        b"w,class\n" + b"1,a\n" * 100_000 + "2,é\n".encode("latin-1")
    )
    table = read(tmp_path / "table.csv")
    assert len(table) == 100_001 and values(table)[1][-1] == "é"


def zipped(text: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("inner.csv", text)
        archive.writestr("__MACOSX/._inner.csv", b"")
    return file.getvalue()


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zip", zipped)],
)
def test_packed_files(suffix: str, pack: object, reader: str, tmp_path: Path) -> None:
    path = tmp_path / f"table.csv{suffix}"
    path.write_bytes(pack(TABLE.encode()))  # type: ignore[operator]
    assert values(read(path)) == [list(column) for column in zip(*ROWS, strict=True)]
    assert read(path).place(2).endswith("line 4")


SIGNS = {
    "currency": (["$5", "$1,250.50", "-$3", "7"], [5, 1250.5, -3, 7]),
    "percent": (["12.5%", "3 %", "100%"], [12.5, 3, 100]),
    "spaced": (["€ 5", "€ 6,000,000"], [5, 6e6]),
    "thousands": (["1,234", "12,345", "17"], [1234, 12345, 17]),
    "decimals": (["0,5", "1,234", "17"], [0.5, 1.234, 17]),
    "gaps": (["-", "None", "N.A.", "5", "\\N", "#DIV/0!", "."], [*[None] * 3, 5, *[None] * 3]),
    "texts": (["$5", "5 kg"], ["$5", "5 kg"]),
}


@pytest.mark.parametrize("how", SIGNS)
def test_numbers_with_signs(how: str, reader: str, tmp_path: Path) -> None:
    cells, numbers = SIGNS[how]
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f'"{cell}",1\n' for cell in cells))
    assert values(read(tmp_path / "t.csv"))[0] == numbers


def test_missing_values_numbers_and_texts(reader: str, tmp_path: Path) -> None:
    cells = "w,colour,flag\n1,red,TRUE\n?,NA,false\n, blue ,TRUE\nNA,red,?\n2.50,red,FALSE\n"
    (tmp_path / "table.csv").write_text(cells)
    assert values(read(tmp_path / "table.csv")) == [
        [1, None, None, None, 2.5],
        ["red", None, "blue", "red", "red"],
        [1, 0, 1, None, 0],
    ]


def test_a_text_that_comes_late(
    reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "CHUNK", 1 << 12)
    body = "".join(f"{k},{k / 8}\n" for k in range(2000))
    (tmp_path / "table.csv").write_text(f"n,x\n{body}2000,low\n2001,\n2002,0.5\n")
    table = read(tmp_path / "table.csv")
    n, x = table.columns
    assert isinstance(interpreted(n), Numbers) and interpreted(n).values[-1] == 2002
    assert x.texts().cells()[-3:] == ["low", "", "0.5"] and x.texts().cells()[3] == "0.375"


def test_many_chunks_are_one_table(
    reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr(lines, "CHUNK", 1000)
    x = rng.standard_normal((999, 4)) * 10.0 ** rng.integers(-9, 9, (999, 4))
    cells = [f'{",".join(map(repr, row))},"a\n, {k % 3}"' for k, row in enumerate(x.tolist())]
    (tmp_path / "table.csv").write_text("a,b,c,d,text\n" + "\n".join(cells))
    table = read(tmp_path / "table.csv")
    assert np.array_equal(np.array([interpreted(c).values for c in table.columns[:4]]).T, x)
    assert table.columns[4].texts().cells()[:4] == ["a\n, 0", "a\n, 1", "a\n, 2", "a\n, 0"]


def test_arff(reader: str, tmp_path: Path) -> None:
    head = "% made\n@RELATION r\n\n@attribute 'the w' numeric\n@ATTRIBUTE h REAL\n"
    head += "@attribute class {a,b,'c d'}\n@data\n% rows\n"
    (tmp_path / "table.arff").write_text(head + BODY + "?,1,'c d'\n")
    table = read(tmp_path / "table.arff")
    assert table.names == ["the w", "h", "class"] and len(table) == 7
    assert [column[-1] for column in values(table)] == [None, 1, "c d"]


def test_parquet(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"n": [1, None, 3], "b": [True, False, None], "t": ["x", None, "y"]})
    frame.write_parquet(tmp_path / "table.parquet")
    assert values(read(tmp_path / "table.parquet")) == [
        [1, None, 3],
        [1, 0, None],
        ["x", None, "y"],
    ]


def test_progress_is_shown_where_it_takes_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("polars")
    from softstep.training import progress

    (tmp_path / "table.csv").write_text(TABLE)
    for patience, quiet in ((1e9, False), (-1e9, True), (-1e9, False)):
        monkeypatch.setattr(progress, "PATIENCE", patience)
        read_table(str(tmp_path / "table.csv"), Reading(), LABEL_NAMES, quiet=quiet)
        shown = capsys.readouterr().err
        assert shown == (
            f"reading {tmp_path}/table.csv: 100%\n" if patience < 0 and not quiet else ""
        )
