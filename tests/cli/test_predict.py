"""`softstep predict` against the weights file evaluated in NumPy; `info`, `--help`."""

import csv
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.cli.command_line import (
    COMMAND,
    SMALL,
    arrays,
    blobs,
    contents,
    logits_of,
    softstep,
    write_csv,
)

NAMES = np.array(["red", "green", "blue"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `run/weights.npz`, trained on `named.csv`."""
    folder = tmp_path_factory.mktemp("trained")
    features, labels = blobs()
    lines = [
        f"{x!r},{c},{y!r},{z!r}"
        for (x, y, z), c in zip(features.tolist(), NAMES[labels], strict=True)
    ]
    write_csv(folder / "named.csv", "x,colour,y,z", *lines)
    source = ["--data", "named.csv", "--label-column", "colour"]
    softstep("train", *source, "--output", "run", *SMALL, cwd=folder)
    np.savez(folder / "bare.npz", X=features)
    return folder


def predict(folder: Path, *words: str, status: int = 0) -> tuple[str, str]:
    return softstep("predict", "--weights", "run/weights.npz", *words, cwd=folder, status=status)


def refusal(folder: Path, *words: str) -> str:
    stdout, stderr = predict(folder, *words, status=2)
    assert stdout == "" and stderr.count("\n") == 1
    assert stderr.startswith("softstep predict: error: ")
    return stderr


def test_predictions_are_those_of_the_weights(trained: Path) -> None:
    features, labels = blobs()
    stdout, stderr = predict(trained, "--data", "named.csv", "--probabilities")
    header, *rows = csv.reader(stdout.splitlines())
    assert header == ["row", "prediction", "p(blue)", "p(green)", "p(red)"]
    logits = logits_of(arrays(trained / "run" / "weights.npz"), features)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    classes = np.array(["blue", "green", "red"])
    assert [row[0] for row in rows] == [str(row) for row in range(120)]
    assert [row[1] for row in rows] == classes[p.argmax(axis=1)].tolist()
    np.testing.assert_allclose(np.array([row[2:] for row in rows], float), p, atol=2e-6)
    hits = int(np.sum(classes[p.argmax(axis=1)] == NAMES[labels]))
    assert stderr == f"accuracy: {hits / 120:.4f} ({hits} of 120 rows)\n"


def test_labels_may_be_missing(trained: Path) -> None:
    stdout, _ = predict(trained, "--data", "named.csv")
    unlabelled = predict(trained, "--data", "bare.npz")
    assert unlabelled == (stdout, "")
    lines = (trained / "named.csv").read_text().splitlines()
    cells = [line.split(",") for line in lines]
    write_csv(trained / "unlabelled.csv", *(",".join([x, y, z]) for x, _, y, z in cells))
    assert predict(trained, "--data", "unlabelled.csv") == (stdout, "")


def test_the_output_file_has_what_stdout_would_have(trained: Path) -> None:
    printed, _ = predict(trained, "--data", "named.csv")
    stdout, stderr = predict(trained, "--data", "named.csv", "--output", "predicted.csv")
    assert (trained / "predicted.csv").read_text() == printed
    written, accuracy = stdout.splitlines()
    assert written == "written: predicted.csv (120 rows)"
    assert accuracy.startswith("accuracy: ") and stderr == ""


def test_digits_of_another_training_are_recognised(tmp_path: Path) -> None:
    softstep("train", "--quiet", cwd=tmp_path)
    words = ["--weights", "softstep-run/weights.npz", "--data", "digits", "--no-probabilities"]
    stdout, stderr = softstep("predict", *words, cwd=tmp_path)
    assert stdout.splitlines()[:4] == ["row,prediction", "0,0", "1,1", "2,2"]
    assert float(stderr.split()[1]) > 0.99


BAD = {
    "few": (["x,y", "1,2"], "few.csv: expected the columns of the training, got none called z"),
    "bare": (["1,2", "3,4"], "bare.csv: expected 3 features, as in training, and labels or not"),
    "other": (["x,colour,y,z", "1,pink,2,3"], "other.csv, line 2: expected a label that the "
              "weights know (blue, green, red), got 'pink'"),
    "text": (["x,y,z", "1,2,low"], "text.csv, line 2, column z: expected a number, as in training"),
    "inf": (["x,y,z", "1,2,inf"], "inf.csv, line 2, column z: expected a finite number, got inf"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_data(case: str, trained: Path) -> None:
    lines, message = BAD[case]
    write_csv(trained / f"{case}.csv", *lines)
    (trained / "kept.csv").write_text("mine")
    assert message in refusal(trained, "--data", f"{case}.csv", "--output", "kept.csv")
    assert (trained / "kept.csv").read_text() == "mine"


def given(text: str, folder: Path, *words: str) -> tuple[list[str], str]:
    """Return the lines of the prediction of a file on standard input, and stderr."""
    run = subprocess.run(
        [*COMMAND, "predict", "--weights", "run/weights.npz", "--data", "-", *words],
        cwd=folder, input=text, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines(), run.stderr


def test_columns_are_found_by_their_names_and_others_are_carried_through(trained: Path) -> None:
    plain, _ = given("x,y,z\n0,4,5\n4,0,5\n", trained)
    assert [line.split(",")[:2] for line in plain[1:]] == [["0", "blue"], ["1", "green"]]
    other, stderr = given('id,Z,note,Y,x\n007,5,"a, b",4,0\n08,5,NA,0,4\n', trained)
    assert stderr == ""
    assert other[0].startswith("row,id,note,prediction,p(blue),")
    assert [row[1:4] for row in csv.reader(other[1:])] == [
        ["007", "a, b", "blue"],
        ["08", "NA", "green"],
    ]
    for line, row in zip(plain[1:], csv.reader(other[1:]), strict=True):
        assert line.split(",")[2:] == row[4:]


def test_blank_labels_and_missing_values_are_accepted(trained: Path) -> None:
    lines, stderr = given("x,colour,y,z\n0,,4,5\n4,,0,5\n", trained, "--no-probabilities")
    assert (lines, stderr) == (["row,prediction", "0,blue", "1,green"], "")
    lines, stderr = given("x,colour,y,z\n0,blue,4,\n4,NA,0,?\n", trained)
    assert stderr == "accuracy: 1.0000 (1 of 1 rows)\n"


def test_a_file_without_names_has_the_columns_of_the_training_in_their_order(trained: Path) -> None:
    labelled = [line[:2] for line in map(str.split, given("0,blue,4,5\n4,red,0,5\n", trained)[0])]
    assert labelled == [line[:2] for line in map(str.split, given("0,4,5\n4,0,5\n", trained)[0])]


def test_a_renamed_label_column_can_be_named(trained: Path) -> None:
    write_csv(trained / "renamed.csv", "x,y,z,c", "0,0,5,red")
    _, stderr = predict(trained, "--data", "renamed.csv", "--label-column", "c")
    assert stderr == "accuracy: 1.0000 (1 of 1 rows)\n"


def test_an_output_that_cannot_be_written_is_refused_first(trained: Path) -> None:
    message = refusal(trained, "--data", "nowhere.csv", "--output", "nowhere/p.csv")
    assert "--output: nowhere: cannot be written to" in message


def test_an_output_that_is_no_file_is_not_replaced(trained: Path, tmp_path: Path) -> None:
    words = ["--data", "named.csv", "--output"]
    expected = predict(trained, *words[:2])[0]
    link, file, pipe = (tmp_path / name for name in ("link", "file", "pipe"))
    link.symlink_to(file)
    os.mkfifo(pipe)
    predict(trained, *words, str(link))
    assert link.is_symlink() and file.read_text() == expected
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True) as reader:
        predict(trained, *words, str(pipe))
        assert reader.communicate()[0] == expected and pipe.is_fifo()
    assert "expected a file, got a folder" in refusal(trained, *words, str(tmp_path))


def test_inputs_are_not_overwritten(trained: Path) -> None:
    before = (trained / "named.csv").read_bytes()
    message = refusal(trained, "--data", "named.csv", "--output", "named.csv")
    assert "--output: expected another file than the input named.csv" in message
    assert (trained / "named.csv").read_bytes() == before


def test_weights_that_are_not_ours(trained: Path, tmp_path: Path) -> None:
    features, labels = blobs(30)
    np.savez(tmp_path / "data.npz", X=features, y=labels)
    good = arrays(trained / "run" / "weights.npz")
    np.savez(tmp_path / "shape.npz", **{**good, "weight1": good["weight1"].T})
    np.savez(tmp_path / "part.npz", **{name: good[name] for name in good if name != "bias1"})
    whole = (trained / "run" / "weights.npz").read_bytes()
    (tmp_path / "damaged.npz").write_bytes(whole[:200] + bytes(200) + whole[400:])
    (tmp_path / "text.npz").write_text("weights")
    for name, message in {
        "data.npz": "(format softstep-mlp-2), got X, y",
        "shape.npz": "weight1: expected float32 of shape (16, 3), got float32 of shape (3, 16)",
        "part.npz": "got one with a part missing",
        "damaged.npz": "got a damaged archive",
        "text.npz": "got something else",
        "nowhere.npz": "cannot be read: No such file or directory",
    }.items():
        words = ["--weights", name, "--data", "data.npz"]
        _, stderr = softstep("predict", *words, cwd=tmp_path, status=2)
        assert stderr.startswith(f"softstep predict: error: {name}: ") and message in stderr
    assert "data.npz" in contents(tmp_path)


def test_a_closed_pipe_is_not_an_error(trained: Path) -> None:
    words = ["predict", "--weights", "run/weights.npz", "--data", "bare.npz"]
    with subprocess.Popen(
        [*COMMAND, *words], cwd=trained, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_info_prints_the_configuration(tmp_path: Path) -> None:
    stdout, _ = softstep("info", cwd=tmp_path)
    for word in ("softstep", "ISA", "threads", "backend", "compiler", "NumPy"):
        assert word in stdout


def test_help_names_the_commands_without_loading_what_they_need(tmp_path: Path) -> None:
    code = (
        "import sys; from softstep.cli import main\n"
        "try: main(['--help'])\n"
        "finally: print({'sklearn', 'matplotlib', 'tqdm', 'softstep.cli.train'} & set(sys.modules))"
    )
    run = subprocess.run([COMMAND[0], "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert all(name in run.stdout for name in ("train", "predict", "bench", "info"))
    assert run.stdout.endswith("set()\n")
    _, stderr = softstep("trian", cwd=tmp_path, status=2)
    assert stderr.startswith("softstep: error: argument COMMAND: invalid choice: 'trian'")
