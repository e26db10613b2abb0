"""`softstep train` on tables with the quirks of real ones: what it takes them for, and says."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.cli.command_line import SMALL, arrays, softstep, write_csv

FOUND = "label: column class (found by its name), 2 classes: a, b\n"
OTHER = "; --label-column names another, by its name or its position from 0"


def train(folder: Path, *words: str, status: int = 0) -> tuple[str, str]:
    """Return stdout and stderr of a training, without its progress, and as if polars were there."""
    options = ["--output", "run", "--epochs", "3", "--hidden", "4"]
    stdout, stderr = softstep("train", *options, *words, cwd=folder, status=status)
    stdout = re.sub(r"(t\.csv: |; )read by Python, slowly: .* brings polars\n", "\n", stdout)
    lines = [line for line in stderr.splitlines(True) if not line.startswith("epoch")]
    return stdout.lstrip("\n"), "".join(lines)


def conversion(folder: Path) -> dict[str, dict[str, object]]:
    """Return what became of each column, as it is saved with the weights."""
    saved = json.loads(str(arrays(folder / "run" / "weights.npz")["conversion"]))
    return {feature.pop("name"): feature for feature in saved["features"]}


def test_a_label_found_by_its_name(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", "w,h,class", "1,2,a", "3,4,b", "1,3,a", "4,4,b")
    stdout, stderr = train(tmp_path, "--data", "t.csv")
    assert stdout.startswith(FOUND)
    assert stderr == (
        "softstep train: warning: 2 classes have fewer than 5 rows: too few to judge the accuracy "
        "by\n"
    )


@pytest.mark.parametrize("name", ["Class", "LABEL", "target", "Y", "y"])
def test_names_of_labels_in_any_case(name: str, tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", f"{name},w,h", "a,1,2", "b,3,4", "a,1,3", "b,4,4")
    assert f"label: column {name} (found by its name)" in train(tmp_path, "--data", "t.csv")[0]


def test_a_position_without_a_header_line(tmp_path: Path) -> None:
    rows = ["1,9,0,4", "0,2,1,3", "1,8,2,5", "0,1,2,4", "1,7,1,3", "0,3,1,5", "1,9,2,4", "0,2,2,3"]
    write_csv(tmp_path / "t.csv", *rows)
    for column in ("0", "-4"):
        words = ["--label-column", column, "--hidden", "128", "--epochs", "auto"]
        stdout, _ = train(tmp_path, "--data", "t.csv", *words)
        assert (
            "t.csv: no header line\nlabel: column 0 (--label-column), 2 classes: 0, 1\n" in stdout
        )
        assert "6 rows to train, 2 held out" in stdout and stdout.endswith("accuracy: 1.0000\n")


def test_a_last_column_of_one_value(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", "5,0,0,7,0", "4,0,9,1,0", "5,0,1,8,0", "4,0,8,2,0")
    _, stderr = train(tmp_path, "--data", "t.csv", status=2)
    assert stderr == (
        "softstep train: error: t.csv: label column 4 (the last one, assumed): expected two "
        f"classes or more, got only '0'{OTHER}\n"
    )
    stdout, stderr = train(tmp_path, "--data", "t.csv", "--label-column", "0")
    assert "label: column 0 (--label-column), 2 classes: 4, 5\n" in stdout
    assert "2 classes have fewer than 5 rows" in stderr


DUMMIES = [
    *("0,22,0,1", "1,38,1,0", "1,26,0,1", "1,35,0,1", "0,35,0,1"),
    *("0,54,1,0", "0,2,0,1", "1,27,1,0", "0,14,1,0", "1,4,0,1"),
]


def test_a_last_column_that_another_one_gives_away(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", "Survived,age,port_C,port_S", *DUMMIES)
    _, stderr = train(tmp_path, "--data", "t.csv", "--quiet")
    assert stderr.splitlines()[:2] == [
        f"softstep train: warning: label: column port_S (the last one, assumed){OTHER}",
        "softstep train: warning: column port_C alone predicts the label of every row: --drop "
        "port_C leaves it out",
    ]
    stdout, stderr = train(tmp_path, "--data", "t.csv", "--label-column", "Survived")
    assert "label: column Survived (--label-column), 2 classes: 0, 1" in stdout and stderr == ""


def test_texts_and_missing_values(tmp_path: Path) -> None:
    rows = ["A,T,39.1,MALE", "B,U,,", "A,T,40.3,FEMALE", "B,U,50.1,MALE"]
    write_csv(tmp_path / "t.csv", "species,island,bill,sex", *rows)
    _, stderr = train(tmp_path, "--data", "t.csv", status=2)
    assert "line 4: label column sex (the last one, assumed): expected two rows or more" in stderr
    assert stderr.endswith(f"--rare-classes drop leaves them out{OTHER}\n")
    stdout, _ = train(tmp_path, "--data", "t.csv", "--label-column", "species")
    assert (
        "columns: one-hot: island (2), sex (2); missing values as the mean and an indicator: bill "
        "(1); missing values as none of the categories and an indicator: sex (1)\n"
    ) in stdout
    assert conversion(tmp_path) == {
        "island": {"levels": ["T", "U"], "other": False, "missing": False},
        "bill": {"levels": None, "other": False, "missing": True},
        "sex": {"levels": ["FEMALE", "MALE"], "other": False, "missing": True},
    }
    assert arrays(tmp_path / "run" / "weights.npz")["weight0"].shape == (2 + 2 + 3, 4)


@pytest.mark.parametrize("words", ["True False", "TRUE FALSE", "yes no", "Yes No"])
def test_truth_values(words: str, tmp_path: Path) -> None:
    yes, no = words.split()
    write_csv(tmp_path / "t.csv", "male,age,class", *[f"{yes},3,a", f"{no},2,b"] * 5)
    assert "columns: as 1 and 0: male\n" in train(tmp_path, "--data", "t.csv")[0]
    assert conversion(tmp_path)["male"]["levels"] is None
    assert arrays(tmp_path / "run" / "weights.npz")["mean"][0] == 0.5


def test_truth_values_as_labels_keep_their_names(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", "age,class", *["3,True", "2,False"] * 5)
    assert "2 classes: False, True\n" in train(tmp_path, "--data", "t.csv")[0]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["w;h;class", "1;2;a", "3;4;b"] + ["1;3;a", "4;4;b"] * 4, "t.csv: separated by ';'\n"),
        (
            ["w,h,class,", "1,2,a,", "3,4,b,"] + ["1,3,a,", "4,4,b,"] * 4,
            "columns: left out: a column without a name (empty)\n",
        ),
        (
            ["w,h,class", "1,2,a", "3,4,b"] + ["1,3,a", "4,4,b"] * 4 + [",,"],
            "columns: left out: 1 empty row\n",
        ),
        (
            [",w,h,class", *[f"{k * k % 101},{k % 2},{k % 3},{'ab'[k % 2]}" for k in range(12)]],
            "columns: left out: a column without a name (numbers the rows)\n",
        ),
        (
            ["who,w,class", *["O'Brien,1,a", "Jo,2,b", "'Li,3,a", "O'Brien,1,b"] * 3],
            "columns: one-hot: who (3)\n",
        ),
        (
            [",w,h,class", *[f"{k},{k % 2},{k % 3},{'ab'[k % 2]}" for k in range(12)]],
            "columns: left out: a column without a name (numbers the rows)\n",
        ),
        (
            ["w,who,class", *[f"{k % 5},name {k},{'ab'[k % 2]}" for k in range(24)]],
            "columns: left out: who (texts that differ in 24 of 24 rows)\n",
        ),
    ],
)  # fmt: skip
def test_what_is_found_out_and_left_out(lines: list[str], said: str, tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", *lines)
    stdout, _ = train(tmp_path, "--data", "t.csv")
    assert said in stdout and FOUND in stdout


def test_columns_to_drop_and_to_keep(tmp_path: Path) -> None:
    rows = [f"{k},{k % 5},name {k % 23},{'ab'[k % 3 > 1]}" for k in range(40)]
    write_csv(tmp_path / "t.csv", "id,w,who,class", *rows)
    _, stderr = train(tmp_path, "--data", "t.csv")
    assert "warning: column id only counts the rows: --drop id leaves it out\n" in stderr
    stdout, stderr = train(
        tmp_path, "--data", "t.csv", "--drop", "id", "--keep", "who", "--epochs", "60"
    )
    assert stderr == "" and "one-hot: who (" in stdout
    assert list(conversion(tmp_path)) == ["w", "who"]
    train(tmp_path, "--data", "t.csv", "--drop", "0", "-2")
    assert list(conversion(tmp_path)) == ["w"]
    _, stderr = train(tmp_path, "--data", "t.csv", "--drop", "class", status=2)
    assert "--drop: class is the label column" in stderr
    _, stderr = train(tmp_path, "--data", "t.csv", "--drop", "height", status=2)
    assert "--drop: expected a position from -4 to 3 or a name (id, w, who, class)" in stderr


HOLES = ["x,c,class", "1,r,a", ",r,b", "3,?,a", "4,s,b", "5,s,a", "6,r,b"]


def test_missing_values_as_told(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", *HOLES)
    stdout, _ = train(tmp_path, "--data", "t.csv", "--missing", "drop")
    assert "left out: 2 rows with missing values" in stdout
    _, stderr = train(tmp_path, "--data", "t.csv", "--missing", "error", status=2)
    assert "error: t.csv, line 3, column x: expected a value, got none: --missing mean" in stderr
    stdout, _ = train(tmp_path, "--data", "t.csv", "--keep-na", "--missing-values", "1")
    assert "an indicator: x (2)" in stdout
    assert conversion(tmp_path)["c"] == {
        "levels": ["?", "r", "s"],
        "other": False,
        "missing": False,
    }


def test_what_is_no_number_among_numbers_is_missing(tmp_path: Path) -> None:
    """Among texts it is one of them."""
    write_csv(tmp_path / "t.csv", "x,c,class", *["-,-,a", "$4,r,b", "NULL,r,a", "6,s,b"] * 3)
    said = "columns: numbers without their signs: x; one-hot: c (3); missing values as the mean"
    assert said in train(tmp_path, "--data", "t.csv")[0]
    assert conversion(tmp_path)["c"]["levels"] == ["-", "r", "s"]
    write_csv(tmp_path / "new.csv", "x,c", "N.A.,r")
    words = ["--weights", "run/weights.npz", "--data", "new.csv"]
    assert softstep("predict", *words, cwd=tmp_path)[0].count("\n") == 2


def test_the_mean_is_that_of_the_rows_that_are_trained_on(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", "x,class", *["1,a", "NA,b", "3,a", "5,b"] * 3)
    train(tmp_path, "--data", "t.csv", "--test-fraction", "0.01")
    saved = arrays(tmp_path / "run" / "weights.npz")
    # One row of each class is held out.
    assert saved["mean"][0] in {np.mean(kept) for kept in ([1, 1, 3, 3, 3, 5, 5, 5],
        [1, 1, 1, 3, 3, 5, 5, 5], [1, 1, 3, 3, 3, 5, 5], [1, 1, 1, 3, 3, 5, 5])}  # fmt: skip
    assert saved["mean"].shape == saved["scale"].shape == (2,)


def test_rows_without_a_label_are_left_out(tmp_path: Path) -> None:
    rows = ["1,a", "2,b", "1,a", "2,b", "3,", "1,NA", "2,NA"] * 2
    write_csv(tmp_path / "t.csv", "w,class", *rows)
    stdout, _ = train(tmp_path, "--data", "t.csv")
    assert "left out: 6 rows without a label, or with NA (a class with --keep-na)\n" in stdout
    stdout, _ = train(tmp_path, "--data", "t.csv", "--keep-na")
    assert "3 classes: NA, a, b\n" in stdout and "left out: 2 rows without a label\n" in stdout


def test_classes_of_one_row(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", "w,class", *["1,a", "2,b"] * 4, "3,c", "4,d")
    _, stderr = train(tmp_path, "--data", "t.csv", status=2)
    assert (
        "t.csv, line 10: label column class (found by its name): expected two rows or more of "
        "every class (one to train, one to test), class 'c' has one, as have 1 more classes: "
        f"--rare-classes drop leaves them out{OTHER}\n"
    ) in stderr
    stdout, _ = train(tmp_path, "--data", "t.csv", "--rare-classes", "drop")
    assert "left out: 2 rows of classes with one row\n" in stdout and FOUND in stdout


def test_measured_numbers_are_no_classes(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", "w,price", *[f"{k % 7},{k * k}" for k in range(150)])
    _, stderr = train(tmp_path, "--data", "t.csv", status=2)
    assert stderr.startswith(
        "softstep train: error: t.csv, line 2: label column price (the last one, assumed): "
        "expected classes (whole numbers or texts), got 150 different numbers as 0: cut them into "
    )
    write_csv(tmp_path / "t.csv", "w,id", *[f"{k % 7},id {k}" for k in range(50)])
    _, stderr = train(tmp_path, "--data", "t.csv", status=2)
    assert "expected classes of two rows or more, got 50 different labels in 50 rows" in stderr
    # As many, but they are there again and again, or count without a gap.
    write_csv(tmp_path / "u.csv", "w,class", *[f"{k % 7},{k % 120}" for k in range(240)])
    assert "120 classes: 0, 1, 2, 3" in train(tmp_path, "--data", "u.csv")[0]


def test_rows_to_test_on_that_come_with_the_file(tmp_path: Path) -> None:
    x, y = np.arange(20.0).reshape(10, 2), np.arange(10) % 2
    np.savez(tmp_path / "t.npz", x_train=x, y_train=y, x_test=x[:4], y_test=y[:4])
    stdout, _ = train(tmp_path, "--data", "t.npz", *SMALL)
    assert "10 rows to train, 4 held out" in stdout and "label: array y_train, 2 classes" in stdout
