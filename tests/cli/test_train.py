"""`softstep train` as a user runs it: result, files, progress, repeatability, Ctrl-C."""

import csv
import fcntl
import json
import os
import re
import signal
import struct
import subprocess
import termios
from pathlib import Path

import numpy as np
import pytest

from tests.cli.command_line import COMMAND, SMALL, arrays, blobs, contents, softstep, write_csv

HISTORY = [
    "epoch", "lr", "data_loss", "l2_penalty",
    "train_accuracy", "test_loss", "test_accuracy", "validation_loss", "rows_per_second",
]  # fmt: skip


def final_accuracy(stdout: str) -> float:
    line = re.fullmatch(r"test accuracy: ([01]\.\d{4})", stdout.splitlines()[-1])
    assert line, stdout
    return float(line[1])


def penalty(weights: dict[str, np.ndarray]) -> float:
    """Return lambda ||w||^2; the weight decay is 2 lambda."""
    decay = json.loads(str(weights["settings"]))["weight_decay"]
    squares = sum(float(np.sum(weights[f"weight{layer}"].astype(float) ** 2)) for layer in (0, 1))
    return decay / 2 * squares


def history(folder: Path, name: str = "history.csv") -> list[dict[str, str]]:
    with open(folder / name, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """Return the folder, stdout and stderr of a training with the default settings."""
    folder = tmp_path_factory.mktemp("digits")
    stdout, stderr = softstep("train", "--plot", cwd=folder)
    return folder / "softstep-run", stdout, stderr


def test_default_settings_reach_the_accuracy(digits: tuple[Path, str, str], tmp_path: Path) -> None:
    accuracies = [final_accuracy(digits[1])]
    for seed in "123":
        stdout, _ = softstep("train", "--quiet", "--seed", seed, cwd=tmp_path)
        accuracies.append(final_accuracy(stdout))
    assert np.mean(accuracies) >= 0.98


def test_per_class_results_agree_with_the_accuracy(digits: tuple[Path, str, str]) -> None:
    lines = digits[1].splitlines()
    start = lines.index("class  precision  recall      f1  support") + 1
    table = np.array([line.split() for line in lines[start : start + 10]], float)
    assert table[:, 0].tolist() == list(range(10))
    precision, recall, f1, support = table[:, 1:].T
    assert 0.19 * 1797 < support.sum() < 0.21 * 1797
    assert (recall * support).sum() / support.sum() == pytest.approx(
        final_accuracy(digits[1]), abs=1e-4
    )
    np.testing.assert_allclose(f1, 2 * precision * recall / (precision + recall), atol=2e-4)


def test_history_has_a_line_per_epoch(digits: tuple[Path, str, str]) -> None:
    epochs = history(digits[0])
    assert list(epochs[0]) == HISTORY
    assert [int(epoch["epoch"]) for epoch in epochs] == list(range(1, 61))
    rates = [float(epoch["lr"]) for epoch in epochs]
    weights = arrays(digits[0] / "weights.npz")
    settings = json.loads(str(weights["settings"]))
    assert rates[0] == pytest.approx(settings["lr"], rel=1e-5)
    assert sorted(rates, reverse=True) == rates
    assert f"{float(epochs[-1]['test_accuracy']):.4f}" == f"{final_accuracy(digits[1]):.4f}"
    assert settings["weight_decay"] == 3 / 1438
    assert float(epochs[-1]["l2_penalty"]) == pytest.approx(penalty(weights), rel=1e-5)


def test_progress_off_a_terminal_is_a_line_per_epoch(digits: tuple[Path, str, str]) -> None:
    line = r"epoch +\d+/60  loss \d\.\d{4} \+ l2 \d\.\d{4}  test acc [01]\.\d{4}  \d+ rows/s"
    lines = digits[2].splitlines()
    assert len(lines) == 60
    assert all(re.fullmatch(line, each) for each in lines)


def test_picture_shows_something(digits: tuple[Path, str, str]) -> None:
    image = pytest.importorskip("matplotlib.image").imread(digits[0] / "training.png")
    assert image.shape == (900, 1800, 4)
    left, right = np.split(image[..., :3], 2, axis=1)
    assert left.std() > 0.05 and right.std() > 0.05


def test_the_same_seed_gives_the_same_bits(tmp_path: Path) -> None:
    for folder, words in {
        "a": [],
        "b": [],
        "one": ["--threads", "1"],
        "c": ["--seed", "1"],
    }.items():
        softstep("train", *SMALL, "--output", folder, *words, cwd=tmp_path)
    first = (tmp_path / "a" / "weights.npz").read_bytes()
    assert (tmp_path / "b" / "weights.npz").read_bytes() == first
    assert (tmp_path / "one" / "weights.npz").read_bytes() == first
    other = arrays(tmp_path / "c" / "weights.npz")
    assert not np.array_equal(arrays(tmp_path / "a" / "weights.npz")["weight0"], other["weight0"])


def test_a_csv_and_an_npz_file_of_the_same_data_train_the_same(tmp_path: Path) -> None:
    features, labels = blobs()
    names = np.array(["red", "green", "blue"])[labels]
    np.savez(tmp_path / "blobs.npz", X=features, y=names)
    rows = [
        f"{x!r},{name},{y!r},{z!r}"
        for (x, y, z), name in zip(features.tolist(), names, strict=True)
    ]
    write_csv(tmp_path / "named.csv", "x,colour,y,z", *rows)
    write_csv(tmp_path / "bare.csv", *rows)
    sources = {"blobs.npz": [], "named.csv": ["colour"], "bare.csv": ["1"]}
    trained = []
    for source, column in sources.items():
        words = ["--label-column", *column] if column else []
        stdout, _ = softstep("train", "--data", source, *words, *SMALL, cwd=tmp_path)
        assert final_accuracy(stdout) > 0.8
        trained.append(arrays(tmp_path / "softstep-run" / "weights.npz"))
    assert trained[0]["classes"].tolist() == ["blue", "green", "red"]
    for name in ("weight0", "bias0", "weight1", "bias1", "classes", "mean", "scale"):
        assert all(np.array_equal(each[name], trained[0][name]) for each in trained)


def test_numeric_labels_keep_their_order_and_need_not_start_at_0(tmp_path: Path) -> None:
    features, labels = blobs()
    np.savez(tmp_path / "blobs.npz", X=features, y=np.array([100.0, -1.0, 20.0])[labels])
    softstep("train", "--data", "blobs.npz", *SMALL, cwd=tmp_path)
    weights = arrays(tmp_path / "softstep-run" / "weights.npz")
    assert weights["classes"].tolist() == ["-1", "20", "100"]


def test_quiet_prints_the_final_line_only(tmp_path: Path) -> None:
    stdout, stderr = softstep("train", "--quiet", *SMALL, cwd=tmp_path)
    assert stdout.count("\n") == 1 and final_accuracy(stdout) > 0.5
    assert stderr == ""


def test_a_new_result_replaces_the_earlier_one_as_a_whole(tmp_path: Path) -> None:
    softstep("train", "--plot", *SMALL, cwd=tmp_path)
    before = contents(tmp_path / "softstep-run")
    assert sorted(before) == ["history.csv", "training.png", "weights.npz"]
    softstep("train", "--seed", "1", *SMALL, cwd=tmp_path)
    after = contents(tmp_path / "softstep-run")
    # The picture of the first training does not stay beside the weights of the second.
    assert sorted(after) == ["history.csv", "weights.npz"]
    assert all(after[name] != before[name] for name in after)


def on_a_terminal(cwd: Path, *words: str) -> str:
    """Return what `softstep train` writes to a terminal on stderr."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    with subprocess.Popen(
        [*COMMAND, "train", *SMALL, *words], cwd=cwd, stdout=subprocess.DEVNULL, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 4096):
                shown += part
        except OSError:
            pass  # Linux answers EIO when the other side is closed.
        finally:
            os.close(ours)
    assert process.returncode == 0, shown
    return shown.decode()


def test_progress_on_a_terminal_is_a_bar(tmp_path: Path) -> None:
    pytest.importorskip("tqdm")
    last = on_a_terminal(tmp_path).rsplit("\r", 2)[-2]
    state = r"loss \d\.\d{4} \+ l2 \d\.\d{4}  test acc [01]\.\d{4}"
    assert re.search(rf"epoch 3/3 \|.*\| .* rows/s.*{state}", last), last


def interrupt(cwd: Path, *words: str) -> tuple[int, str]:
    """Press Ctrl-C after the fifth epoch; return the status and the last line on stderr."""
    # A shell without job control starts what is in its background with Ctrl-C ignored.
    process = subprocess.Popen(
        [*COMMAND, "train", "--hidden", "16", "--epochs", "1000000", *words],
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with process:
        assert process.stderr is not None
        for line in process.stderr:
            if "epoch       5/1000000" in line:
                break
        process.send_signal(signal.SIGINT)
        *_, last = process.stderr
    return process.returncode, last


def kept_epochs(message: str) -> int:
    words = (
        r"softstep train: interrupted in epoch (\d+): the (\d+) before it are in (.*); "
        r"--resume goes on from softstep-run/checkpoint.npz\n"
    )
    match = re.fullmatch(words, message)
    assert match, message
    assert int(match[1]) == int(match[2]) + 1 > 5
    return int(match[2])


def test_ctrl_c_keeps_the_finished_epochs(tmp_path: Path) -> None:
    status, message = interrupt(tmp_path)
    assert status == 130
    folder = tmp_path / "softstep-run"
    assert sorted(contents(folder)) == ["checkpoint.npz", "history.csv", "weights.npz"]
    epochs = history(folder)
    assert len(epochs) == kept_epochs(message)
    # The weights are those of the last epoch in the history, not of a step after it.
    expected = penalty(arrays(folder / "weights.npz"))
    assert float(epochs[-1]["l2_penalty"]) == pytest.approx(expected, rel=1e-5)


def test_ctrl_c_leaves_an_earlier_result_alone(tmp_path: Path) -> None:
    softstep("train", *SMALL, cwd=tmp_path)
    before = contents(tmp_path / "softstep-run")
    status, message = interrupt(tmp_path)
    assert status == 130
    after = contents(tmp_path / "softstep-run")
    kept = {"checkpoint.npz", "interrupted-history.csv", "interrupted-weights.npz"}
    assert set(after) - set(before) == kept
    assert all(after[name] == before[name] for name in before)
    assert len(history(tmp_path / "softstep-run", "interrupted-history.csv")) == kept_epochs(
        message
    )
