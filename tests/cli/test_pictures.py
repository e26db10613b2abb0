"""The picture and the table of a training: any names, many classes, and nothing lost to them."""

import sys
from pathlib import Path

import numpy as np
import pytest

from softstep.cli import main
from softstep.cli.classifier import output, plot
from softstep.cli.classifier.report import per_class, shown_classes
from softstep.cli.files.figure import fonts_for
from tests.cli.command_line import write_csv

NAMES = {
    "formulas": ["$5_to_$10", "low", "$x^", "a\\b"],
    "letters": [chr(ord("a") + k) for k in range(26)],
    "many": [f"class {k}" for k in range(70)],
    "long": ["a name that does not end " * 20, "b"],
    "Japanese": ["猫", "犬", "とり"],
}


@pytest.mark.parametrize("kind", NAMES)
def test_classes_of_any_name_are_drawn(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    names = NAMES[kind]
    rows = [f"{k},{k * k % 7},{name}" for _ in range(5) for k, name in enumerate(names)]
    write_csv(tmp_path / "t.csv", "w,h,class", *rows)
    assert main(["train", "--data", "t.csv", "--plot", "--epochs", "2"]) == 0
    written = sorted(path.name for path in (tmp_path / "softstep-run").iterdir())
    assert written == ["history.csv", "training.png", "weights.npz"]
    # Where no font has the signs, one line says so.
    lines = capsys.readouterr().err.splitlines()
    assert sum("training.png" in line for line in lines) <= (kind == "Japanese")


def test_a_picture_that_cannot_be_drawn_costs_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)

    def half_a_picture(path: Path, *rest: object) -> None:
        path.write_bytes(b"half")
        raise ValueError("no picture today")

    monkeypatch.setattr(output, "plot_training", half_a_picture)
    write_csv(tmp_path / "t.csv", "w,h,class", *["1,2,a", "3,4,b", "1,1,a", "3,5,b"] * 3)
    assert main(["train", "--data", "t.csv", "--plot", "--quiet"]) == 0
    message = "warning: training.png: cannot be drawn: no picture today\n"
    assert capsys.readouterr().err.endswith(f"\nsoftstep train: {message}")
    written = sorted(path.name for path in (tmp_path / "softstep-run").iterdir())
    assert written == ["history.csv", "weights.npz"]


def test_of_5000_classes_the_worst_20_are_shown() -> None:
    confusion = np.zeros((5000, 5000), np.int64)
    confusion[np.diag_indices(5000)] = 2
    for worst in (17, 4321):
        confusion[worst, worst], confusion[worst, 3] = 0, 3
    # Without held-out rows there is nothing to tell.
    confusion[99, 99] = 0
    lines = per_class(confusion, [f"c{k}" for k in range(5000)]).splitlines()
    assert lines[0] == "the 20 classes of the lowest f1, of 5000:" and len(lines) == 22
    assert [line.split()[0] for line in lines[2:5]] == ["c17", "c4321", "c3"]
    assert "c99 " not in "\n".join(lines)
    shown = shown_classes(confusion)
    counts = plot.gathered(confusion, shown)
    assert counts.shape == (21, 21) and counts.sum() == confusion.sum()
    assert counts[0, 2] == 3 and counts[-1, -1] == 2 * (4999 - 20)


def test_columns_of_wide_names_are_aligned() -> None:
    table = per_class(np.eye(2, dtype=np.int64), ["とり", "abcdef"]).splitlines()
    assert table[1].startswith("とり       1.0000") and table[2].startswith("abcdef     1.0000")


def test_a_font_is_looked_for_where_one_is_needed() -> None:
    pytest.importorskip("matplotlib")
    assert fonts_for(["Plain", "é"]) == ["DejaVu Sans"]
    # No font has what Unicode has not.
    assert fonts_for([chr(sys.maxunicode)]) == ["DejaVu Sans"]
