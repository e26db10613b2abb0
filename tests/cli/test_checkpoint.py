"""`softstep train --resume`: the bits of the uninterrupted training, and what is refused."""

import fcntl
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from softstep.cli import main
from softstep.cli.classifier.records import Settings
from softstep.cli.classifier.training import Control, Trainer
from softstep.cli.files.checkpoint import Checkpoint, Identity
from softstep.cli.files.staging import staging_folder
from softstep.cli.process.interrupts import ENDING
from tests.cli.command_line import COMMAND, arrays, blobs, contents
from tests.support.problems import posed

SETTINGS = Settings(
    epochs=3, batch_size=16, hidden=[5], lr=0.1, schedule="cosine", weight_decay=0.01,
    momentum=0.9, label_smoothing=0.1, test_fraction=0.2,
    validation_fraction=0.0, patience=10, seed=0,
)  # fmt: skip
IDENTITY = Identity({"seed": 0}, "blobs.npz", "00")


def trainer(validated: bool) -> Trainer:
    features, labels = blobs(50)
    rows = features.astype(np.float32), labels
    # Labels that nothing tells: the first epoch is the best.
    noise = (features[:9].astype(np.float32), np.roll(labels[:9], 1)) if validated else None
    return Trainer(SETTINGS, posed(rows, rows, "abc", noise), np.random.default_rng(3))


def outcome(run: Trainer) -> tuple[list[bytes], list[float]]:
    """Return what a training ends with, but how fast it was."""
    # Without rows to stop by their loss is NaN, which equals nothing.
    history = np.nan_to_num([list(vars(epoch).values())[:-1] for epoch in run.history])
    return [each.tobytes() for each in (*run.weights, *run.biases)], history.tolist()


class Saving(Control):
    """Writes a checkpoint after step `at`."""

    def __init__(self, run: Trainer, checkpoint: Checkpoint, at: int) -> None:
        self.run, self.checkpoint, self.left = run, checkpoint, at

    def after_step(self, rows: int, stop: bool, save: bool) -> None:
        self.left -= 1
        if self.left == 0:
            self.checkpoint.save(self.run.state(), time.monotonic())


# 4 steps an epoch, the last one of 2 rows: the first, within an epoch, at its end, the last.
@pytest.mark.parametrize("at", [1, 4, 6, 11, 12])
@pytest.mark.parametrize("validated", [False, True])
def test_going_on_after_any_step_gives_the_same_bits(
    at: int, validated: bool, tmp_path: Path
) -> None:
    (tmp_path / "staging").mkdir()
    checkpoint = Checkpoint(tmp_path, tmp_path / "staging", IDENTITY, 5.0, "train")
    whole = trainer(validated)
    list(whole.epochs(Saving(whole, checkpoint, at)))
    assert list((tmp_path / "staging").iterdir()) == []
    resumed = trainer(validated)
    resumed.restore(checkpoint.load())
    assert resumed.position.epoch == (at - 1) // 4 + 1
    list(resumed.epochs(Control()))
    assert outcome(resumed) == outcome(whole)


def test_checkpoints_take_at_most_a_hundredth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    checkpoint = Checkpoint(tmp_path, tmp_path, IDENTITY, 5.0, "train")
    due = {}
    for now in (104.0, 105.0):
        due[now] = checkpoint.due()
    now = 107.0
    checkpoint.save({}, started=105.0)
    for now in (300.0, 305.0):
        due[now] = checkpoint.due()
    assert due == {104.0: False, 105.0: True, 300.0: False, 305.0: True}


WORDS = ["train", "--data", "blobs.npz", "--hidden", "8", "--batch-size", "16", "--epochs", "200"]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    features, labels = blobs()
    np.savez(tmp_path / "blobs.npz", X=features, y=labels)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def not_ignored() -> None:
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL)


def stopped(with_signal: int) -> tuple[int, str]:
    """Send a training a signal after its fifth epoch; return its status and last line."""
    process = subprocess.Popen(
        [*COMMAND, *WORDS, "--checkpoint-every", "1e-4"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=not_ignored,
    )
    with process:
        assert process.stderr is not None
        # What nobody reads fills the pipe: the training cannot be over before the signal.
        fcntl.fcntl(process.stderr, fcntl.F_SETPIPE_SZ, 4096)
        assert any("epoch   5/200" in line for line in process.stderr)
        process.send_signal(with_signal)
        rest = process.stderr.readlines()
    return process.returncode, rest[-1] if rest else ""


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main([*WORDS, *words]) == 2
    stderr = capsys.readouterr().err
    assert stderr.startswith("softstep train: error: ") and stderr.count("\n") == 1
    return stderr.removeprefix("softstep train: error: ")


@pytest.mark.parametrize("with_signal", [signal.SIGKILL, *ENDING], ids=lambda each: each.name)
def test_a_training_that_was_stopped_goes_on(
    with_signal: int, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*WORDS, "--quiet", "--output", "whole"]) == 0
    status, last = stopped(with_signal)
    checkpoint = data / "softstep-run" / "checkpoint.npz"
    before = checkpoint.read_bytes()
    if with_signal in ENDING:
        assert status == 128 + with_signal
        assert last.endswith("; --resume goes on from softstep-run/checkpoint.npz\n")
    leftover = "--output: softstep-run/checkpoint.npz is of a training that was not finished"
    assert refusal(capsys).startswith(leftover)
    assert checkpoint.read_bytes() == before
    assert main([*WORDS, "--resume"]) == 0
    output = capsys.readouterr()
    assert "\ngoes on in epoch " in output.out and "epoch 200/200" in output.err
    if with_signal in ENDING:
        assert "epoch   5/200" not in output.err
    assert not checkpoint.exists()
    folders = contents(data / "whole"), contents(data / "softstep-run")
    assert folders[0]["weights.npz"] == folders[1]["weights.npz"]
    speedless = [
        [line.rsplit(",", 1)[0] for line in folder["history.csv"].decode().splitlines()]
        for folder in folders
    ]
    assert speedless[0] == speedless[1]


def test_what_cannot_be_gone_on_from(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = "--resume: there is no softstep-run/checkpoint.npz: start without --resume\n"
    assert refusal(capsys, "--resume") == missing
    assert not (data / "softstep-run").exists()
    stopped(signal.SIGKILL)
    path = data / "softstep-run" / "checkpoint.npz"
    good = path.read_bytes()
    assert refusal(capsys, "--resume", "--seed", "1", "--hidden", "8", "4") == (
        "--resume: softstep-run/checkpoint.npz is of a training with --hidden 8, not --hidden 8 4; "
        "--seed 0, not --seed 1: expected the same settings, or another --output\n"
    )
    features, labels = blobs()
    features[7, 1] += 1e-3
    np.savez(data / "other.npz", X=features, y=labels)
    assert refusal(capsys, "--resume", "--data", "other.npz") == (
        "--resume: softstep-run/checkpoint.npz is of a training on other data (blobs.npz), got "
        "other.npz: expected the same rows in the same order\n"
    )
    assert path.read_bytes() == good
    parts = arrays(path)
    np.savez(path, **{name: part for name, part in parts.items() if name != "bias1"})
    assert "checkpoint.npz: cannot be used: 'bias1'" in refusal(capsys, "--resume")
    np.savez(path, **{**parts, "weight0": parts["weight0"][:, :1]})
    message = refusal(capsys, "--resume")
    assert "cannot be used: weight0: expected float32 of shape (3, 8), got float32" in message
    flipped = bytearray(good)
    flipped[good.index(parts["weight0"].tobytes())] ^= 1
    for content in (good[: len(good) // 2], bytes(flipped), b"mine"):
        path.write_bytes(content)
        text = "softstep-run/checkpoint.npz: expected a checkpoint that `softstep train` wrote"
        assert refusal(capsys, "--resume").startswith(f"--resume: {text}")
        assert refusal(capsys).startswith("--output: expected a folder without a checkpoint.npz of")
        assert path.read_bytes() == content


def test_a_training_that_diverges_leaves_no_checkpoint(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--lr", "300", "--quiet", "--checkpoint-every", "1e-9"]
    assert main([*WORDS, *words]) == 1
    assert "the training diverged" in capsys.readouterr().err
    assert not (data / "softstep-run").exists()


def test_a_checkpoint_that_cannot_be_written_costs_nothing(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main([*WORDS, "--quiet"]) == 0
    stopped(signal.SIGKILL)
    (abandoned,) = (data / "softstep-run").glob(".softstep-*")
    abandoned.rmdir()
    before = contents(data / "softstep-run")
    assert sorted(before) == ["checkpoint.npz", "history.csv", "weights.npz"]

    def full(file, **parts: object) -> None:
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert main([*WORDS, "--quiet", "--resume", "--checkpoint-every", "1e-9"]) == 1
    assert capsys.readouterr().err == (
        "softstep train: warning: softstep-run/checkpoint.npz: cannot be written: No space left on "
        "device; the training goes on\n"
        "softstep train: error: softstep-run/weights.npz: cannot be written: No space left on "
        "device; --resume goes on from softstep-run/checkpoint.npz\n"
    )
    assert contents(data / "softstep-run") == before


def test_without_room_for_checkpoints_the_training_goes_on(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = np.savez

    def full(file, **parts: object) -> None:
        if "checkpoint" in file.name:
            raise OSError(28, "No space left on device")
        whole(file, **parts)

    monkeypatch.setattr(np, "savez", full)
    assert main([*WORDS, "--quiet", "--checkpoint-every", "1e-9"]) == 0
    assert capsys.readouterr().err.count("checkpoint.npz: cannot be written: No space left") == 1
    assert sorted(contents(data / "softstep-run")) == ["history.csv", "weights.npz"]


def test_a_second_training_in_the_folder_is_refused(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "softstep-run").mkdir()
    with staging_folder(data / "softstep-run"):
        for words in ([], ["--resume"]):
            assert refusal(capsys, *words).startswith(
                "--output: softstep-run: another softstep is writing there: wait for its end"
            )
    assert main([*WORDS, "--quiet"]) == 0


def test_a_signal_that_is_ignored_stays_ignored(data: Path) -> None:
    """As after nohup, which lets a training outlive its terminal."""
    process = subprocess.Popen(
        [*COMMAND, *WORDS, "--epochs", "3"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    with process:
        assert process.stderr is not None
        assert any("epoch 1/3" in line for line in process.stderr)
        process.send_signal(signal.SIGHUP)
        process.stderr.read()
    assert process.returncode == 0
