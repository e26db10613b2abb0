"""What a user gets wrong is answered in one line, and nothing is overwritten."""

import os
from pathlib import Path

import numpy as np
import pytest

from tests.cli.command_line import SMALL, blobs, contents, softstep, write_csv


def refusal(*words: str, cwd: Path, status: int = 2, hide: str = "") -> str:
    """Return the one line on stderr."""
    _, stderr = softstep("train", *words, cwd=cwd, status=status, hide=hide)
    assert stderr.count("\n") == 1, stderr
    assert stderr.startswith("softstep train: error: ")
    assert not (cwd / "softstep-run").exists()
    return stderr.removeprefix("softstep train: error: ").removesuffix("\n")


ARGUMENTS = {
    "--lr -1": "argument --lr: expected a number > 0, got '-1'",
    "--lr nan": "argument --lr: expected a number > 0, got 'nan'",
    "--weight-decay -0.1": "argument --weight-decay: expected a number >= 0, got '-0.1'",
    "--lr 2 --weight-decay 0.5": "--lr times --weight-decay: expected less than 1, got 1 (",
    "--momentum 1": "argument --momentum: expected a number from 0 to below 1, got '1'",
    "--epochs 0": "argument --epochs: expected a whole number from 1 to 2147483647, got '0'",
    "--batch-size 1.5": "argument --batch-size: expected a whole number from 1 to 2147483647, got",
    "--hidden 8 -3": "argument --hidden: expected a whole number from 0 to 2147483647, got '-3'",
    "--seed x": "argument --seed: expected a whole number from 0 to 2147483647, got 'x'",
    "--test-fraction 1": "argument --test-fraction: expected a number between 0 and 1, got '1'",
    "--threads 100000": "--threads: ",
    "--schedule step": "argument --schedule: invalid choice: 'step' (choose from",
    "--epoch 3": "unrecognized arguments: --epoch 3",
    "--label-column 3": "--label-column 3: there is no label column in digits",
    "--data nowhere.csv": "nowhere.csv: cannot be read: No such file or directory",
    "--data digits.txt": "digits.txt: cannot be read: No such file or directory",
    "--data nowhere.parquet": "nowhere.parquet: cannot be read: No such file or directory",
    "--data digits.xlsx": "digits.xlsx: expected a table of text, .parquet or .npz, got a spreads",
    "--missing none": "argument --missing: invalid choice: 'none' (choose from",
}


@pytest.mark.parametrize("words", ARGUMENTS)
def test_arguments(words: str, tmp_path: Path) -> None:
    assert refusal(*words.split(), cwd=tmp_path).startswith(ARGUMENTS[words])


GOOD = ["1,2,x", "2,1,x", "5,6,y", "6,5,y"]
OTHER = "; --label-column names another, by its name or its position from 0"
FOUND = "label column label (found by its name): "
CSV = {
    "ragged": (["a,b,label", "1,2,x", "3,y"], ", line 3: expected 3 columns, as in the first line"),
    "long": (["a,b,label", *GOOD, "1,2,x,4"], ", line 6: expected 3 columns, as in the first line"),
    "text": (
        ["a,b,label", *GOOD * 3, "3,oops,y"],
        ", line 14, column b: expected a number, as in n",
    ),
    "bare": ([*GOOD * 3, "3,oops,y"], ", line 13, column 1: expected a number, as in nearly all"),
    "inf": (
        ["a,b,label", *GOOD, "1,inf,x"],
        ", line 6, column b: expected a finite number, got inf",
    ),
    "real": (["a,b,label", "1,2,1", "1,2,0.5"], f", line 3: {FOUND}"),
    "single": (["a,b,label", *GOOD[:2]], f": {FOUND}expected two classes or more, got only 'x'"),
    "rare": (
        [*GOOD, "1,2,z"],
        ", line 5: label column 2 (the last one, assumed): expected two rows",
    ),
    "huge": (
        [f"{x},1,{c}" for x in (1e300, -1e300, 0.0) for c in "xy"],
        ", column 0: expected values whose variance fits in",
    ),
    "alone": (["label", "x", "y"], ": expected features beside the labels, got one column"),
    "unlabelled": (
        ["a,b,label", "1,2,", "2,3,NA"],
        ": label column label (found by its name): expected labels, g",
    ),
    "header": (["a,b,label"], ": expected rows below the header, got none"),
    "blank": (["a,b,label", ",,"], ": expected rows below the header, got none"),
    "empty": ([], ": expected rows of numbers and a label, got an empty file"),
    "names": (["n,label", *[f"name {k},{k % 2}" for k in range(40)]], ": expected features beside"),
}


@pytest.mark.parametrize("hide", ["", "polars"])
@pytest.mark.parametrize("case", CSV)
def test_csv_files(case: str, hide: str, tmp_path: Path) -> None:
    lines, message = CSV[case]
    write_csv(tmp_path / "bad.csv", *lines)
    assert refusal("--data", "bad.csv", cwd=tmp_path, hide=hide).startswith(f"bad.csv{message}")


def test_an_odd_cell_comes_with_what_to_do(tmp_path: Path) -> None:
    write_csv(tmp_path / "odd.csv", "a,b,kind", *GOOD * 3, "3,oops,y")
    assert refusal("--data", "odd.csv", cwd=tmp_path) == (
        "odd.csv, line 14, column b: expected a number, as in nearly all of its rows, got 'oops': "
        f"--missing-values oops takes it for a missing one, --drop b leaves the column out{OTHER}"
    )


COLUMNS = {
    "species": "expected a position from -3 to 2 or a name (a, b, label), got 'species'",
    "3": "expected a position from -3 to 2 or a name (a, b, label), got '3'",
    "a": "line 2: label column a (--label-column): expected classes (whole numbers or texts), got",
    "-3": "line 2: label column a (--label-column): expected classes (whole numbers or texts), got",
    "B": "line 2: label column b (--label-column): expected two rows or more of every class",
}


@pytest.mark.parametrize("column", COLUMNS)
def test_label_columns(column: str, tmp_path: Path) -> None:
    write_csv(tmp_path / "bad.csv", "a,b,label", "0.5,1,x", "1,2,y")
    message = refusal("--data", "bad.csv", "--label-column", column, cwd=tmp_path)
    assert COLUMNS[column] in message


X, Y = blobs(30)
NPZ = {
    "no X": ({"x1": X, "y": Y}, "expected an array X (rows, features), got arrays: "),
    "no y": ({"X": X}, "expected an array y of class labels"),
    "a row": ({"X": X[0], "y": Y}, "X: expected shape (rows, features), got (3,)"),
    "none": ({"X": X[:0], "y": Y[:0]}, "X: expected shape (rows, features), got (0, 3)"),
    "text": ({"X": X.astype("U8"), "y": Y}, "X: expected numbers, got dtype <U8"),
    "objects": ({"X": X, "y": Y.astype(bytes).astype(object)}, "cannot be read as .npz: Object"),
    "complex": ({"X": X + 1j, "y": Y}, "X: expected numbers, got dtype complex128"),
    "short y": ({"X": X, "y": Y[:-1]}, "y: expected shape (30,), got (29,)"),
    "two y": ({"X": X, "y": X[:, :2]}, "y: expected shape (30,), got (30, 2)"),
    "real y": ({"X": X, "y": Y + 0.5}, "row 0: label array y: expected classes (whole numbers or"),
    "no labels": ({"X": X, "y": np.full(30, np.nan)}, "label array y: expected labels, got none"),
    "inf X": ({"X": np.where(X[4, 2] == X, np.inf, X), "y": Y}, "row 4, column 2: expected a fin"),
    "far y": ({"X": X, "y": np.r_[Y[:-1], 10]}, "row 29: label array y: expected two rows or more"),
}  # fmt: skip


@pytest.mark.parametrize("case", NPZ)
def test_npz_files(case: str, tmp_path: Path) -> None:
    given, message = NPZ[case]
    np.savez(tmp_path / "bad.npz", **given)
    assert message in refusal("--data", "bad.npz", cwd=tmp_path)


def test_files_that_are_not_what_their_name_says(tmp_path: Path) -> None:
    write_csv(tmp_path / "csv.npz", *GOOD)
    assert "csv.npz: expected an .npz archive" in refusal("--data", "csv.npz", cwd=tmp_path)
    (tmp_path / "binary.csv").write_bytes(b"\x00\x01\x02\xff")
    assert "binary.csv: expected text, got byte" in refusal("--data", "binary.csv", cwd=tmp_path)
    (tmp_path / "text.gz").write_bytes(b"\x1f\x8bno more than its mark")
    assert "text.gz: cannot be unpacked: " in refusal("--data", "text.gz", cwd=tmp_path)
    for name in ("text.parquet", "text.arff"):
        write_csv(tmp_path / name, *GOOD)
        assert f"{name}: " in refusal("--data", name, cwd=tmp_path)
    np.savez(tmp_path / "pickle.npz", X=X, y=np.array([{}] * 30))
    assert "pickle.npz: cannot be read as .npz" in refusal("--data", "pickle.npz", cwd=tmp_path)
    np.savez(tmp_path / "cut.npz", X=X, y=Y)
    whole = (tmp_path / "cut.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    assert "cut.npz: " in refusal("--data", "cut.npz", cwd=tmp_path)
    (tmp_path / "folder.csv").mkdir()
    assert "folder.csv: cannot be read" in refusal("--data", "folder.csv", cwd=tmp_path)


MISSING = {
    "sklearn": ([], 'the digits data set needs scikit-learn: pip install "softstep[demo]"'),
    "matplotlib": (["--plot"], '--plot needs matplotlib: pip install "softstep[demo]"'),
}


@pytest.mark.parametrize("package", MISSING)
def test_missing_packages(package: str, tmp_path: Path) -> None:
    words, message = MISSING[package]
    assert refusal(*words, cwd=tmp_path, hide=package).startswith(message)


def test_an_output_that_cannot_be_written_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for output in ("file", "file/below"):
        message = refusal("--output", output, cwd=tmp_path)
        assert message.startswith(f"--output: {output}: cannot be created: ")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_output_folder(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    message = refusal("--output", "locked", cwd=tmp_path)
    assert message.startswith("--output: locked: cannot be written to: Permission denied")


@pytest.mark.parametrize("name", ["weights.npz", "history.csv", "training.png"])
def test_files_of_others_are_not_overwritten(name: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text("mine")
    message = refusal("--output", "mine", cwd=tmp_path)
    assert message.startswith(f"--output: expected a folder without a {name} of other origin")
    assert contents(tmp_path / "mine") == {name: b"mine"}


def test_a_failed_training_leaves_no_trace(tmp_path: Path) -> None:
    message = refusal("--quiet", "--lr", "300", "--output", "new/deep", cwd=tmp_path, status=1)
    assert message.startswith("the training diverged: the loss is ")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_training_leaves_an_earlier_result_alone(tmp_path: Path) -> None:
    softstep("train", "--output", "run", *SMALL, cwd=tmp_path)
    before = contents(tmp_path / "run")
    refusal("--output", "run", "--quiet", "--lr", "300", cwd=tmp_path, status=1)
    refusal("--output", "run", "--data", "nowhere.csv", cwd=tmp_path)
    assert contents(tmp_path / "run") == before
