"""What fuzzing found: files that were damaged, or are odd, and ended a command in a traceback."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from softstep.cli import main
from tests.cli.command_line import arrays, blobs
from tests.cli.phrases import PHRASES

TRAIN = ["train", "--data", "blobs.npz", "--hidden", "4", "--epochs", "3", "--batch-size", "16"]
LM = [
    "lm",
    "--text",
    "text.txt",
    "--steps",
    "20",
    "--lr",
    "0.5",
    "--checkpoints",
    "2",
    "--batch-size",
    "8",
]
LM += ["--vocabulary", "20", "--embedding", "2", "--hidden", "2", "--no-comparison"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights and checkpoints of both commands."""
    folder = tmp_path_factory.mktemp("trained")
    features, labels = blobs()
    np.savez(folder / "blobs.npz", X=features, y=labels)
    (folder / "text.txt").write_text(" ".join(PHRASES) * 9)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("softstep.cli.files.checkpoint.Checkpoint.remove", lambda self: None)
        for command, name in ((TRAIN, "train"), (LM, "lm")):
            words = [*command, "--quiet", "--checkpoint-every", "1e-9", "--output", name]
            assert main(words) == 0
    return folder


@pytest.fixture
def refusal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[list[str], Path], str]:
    """What a command that is given in a folder says, in one line, when it refuses."""

    def refused(words: list[str], folder: Path) -> str:
        monkeypatch.chdir(folder)
        capsys.readouterr()
        assert main(words) == 2
        stderr = capsys.readouterr().err
        assert stderr.count("\n") == 1
        return stderr

    return refused


def invalid(texts: Any) -> Any:
    """Return texts of numbers that are no characters."""
    other = np.array(texts)
    other.view(np.uint32)[0] = 0x110000
    return other


def surrogate(texts: Any) -> Any:
    other = np.array(texts)
    other.view(np.uint32)[0] = 0xD800
    return other


GONE = None
WEIGHTS = {
    "a bias that is infinite": ("bias0", lambda a: a / 0),
    "a weight that is NaN": ("weight1", lambda a: a * np.nan),
    "a scale that is NaN": ("scale", lambda a: a * np.nan),
    "a weight of a layer that is not there": ("weight7", lambda a: np.ones((2, 2), np.float32)),
    "a bias of two dimensions": ("bias0", lambda a: a[None]),
    "no characters": ("classes", invalid),
    "half a character": ("columns", surrogate),
    "a limit of two numbers": ("limit", lambda a: np.ones(2)),
    "a label column that is a number": ("label_column", lambda a: np.ones(())),
    "no bias": ("bias1", GONE),
}
MODEL = {
    "no head": ("head_bias", GONE),
    "a vector of embeddings": ("embedding", lambda a: a[0]),
    "an embedding that is NaN": ("embedding", lambda a: a * np.nan),
    "more than there is": ("more", lambda a: np.ones(2, np.float32)),
    "no characters": ("vocabulary", invalid),
    "settings that are a list": ("settings", lambda a: np.array("[]")),
    "an endless context": ("settings", lambda a: np.array('{"context": 1e999}')),
}


def damaged(source: Path, to: Path, name: str, change: Any) -> None:
    parts = arrays(source)
    with np.errstate(all="ignore"):
        part = change(parts.get(name)) if change else None
    kept = {key: value for key, value in parts.items() if key != name}
    np.savez(to, **(kept if part is None else {**kept, name: part}))


@pytest.mark.parametrize("what", WEIGHTS)
def test_weights(
    what: str, trained: Path, tmp_path: Path, refusal: Callable[[list[str], Path], str]
) -> None:
    damaged(trained / "train/weights.npz", tmp_path / "bad.npz", *WEIGHTS[what])
    words = ["predict", "--weights", str(tmp_path / "bad.npz"), "--data", "blobs.npz"]
    assert "bad.npz: expected a weights" in refusal(words, trained)


@pytest.mark.parametrize("what", MODEL)
def test_weights_of_a_language_model(
    what: str, trained: Path, tmp_path: Path, refusal: Callable[[list[str], Path], str]
) -> None:
    damaged(trained / "lm/weights.npz", tmp_path / "bad.npz", *MODEL[what])
    words = ["lm", "--weights", str(tmp_path / "bad.npz"), "--sample", "3"]
    assert "bad.npz: expected a weights" in refusal(words, trained)


def position(**changes: Any) -> Any:
    def change(array: Any) -> Any:
        return np.array(json.dumps({**json.loads(str(array)), **changes}))

    return change


CHECKPOINTS = {
    "a generator that is none": (TRAIN, "position", position(rng={})),
    "a position with more": (TRAIN, "position", position(more=1)),
    "steps without end": (TRAIN, "optimizer.step", lambda a: np.array(np.inf)),
    "more steps than can be counted": (TRAIN, "optimizer.step", lambda a: np.array(2.0**70)),
    "half a step": (TRAIN, "optimizer.step", lambda a: np.array(0.5)),
    "a history of another kind": (TRAIN, "history", lambda a: a[:, 1:]),
    "no order": (LM, "order", lambda a: np.array([b"1234"], "V4")),
    "an order of rows": (LM, "order", lambda a: np.zeros((2, 2), np.int64)),
    "an order of words that are not there": (LM, "order", lambda a: np.full(9, 2**40)),
    "a generator of another kind": (LM, "position", position(rng={"bit_generator": "other"})),
}


@pytest.mark.parametrize("what", CHECKPOINTS)
def test_checkpoints(
    what: str, trained: Path, tmp_path: Path, refusal: Callable[[list[str], Path], str]
) -> None:
    command, name, change = CHECKPOINTS[what]
    damaged(trained / command[0] / "checkpoint.npz", tmp_path / "checkpoint.npz", name, change)
    words = [*command, "--resume", "--output", str(tmp_path)]
    assert "--resume: " in refusal(words, trained)


def test_features_that_are_truth_values(tmp_path: Path) -> None:
    features, labels = blobs()
    np.savez(tmp_path / "bits.npz", X=features > 2, y=labels)
    words = ["--hidden", "4", "--epochs", "2", "--quiet", "--output", str(tmp_path / "run")]
    assert main(["train", "--data", str(tmp_path / "bits.npz"), *words]) == 0


def test_classes_that_look_like_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What `str.isdigit` takes for one `int` may refuse."""
    for odd in ("²", "+-5", "٣"):
        rows = "".join(f"{k % 3},{k % 2 and odd}\n" for k in range(12))
        (tmp_path / "odd.csv").write_text(f"a,label\n{rows}")
        words = ["--hidden", "4", "--epochs", "2", "--quiet", "--output", str(tmp_path / "run")]
        assert main(["train", "--data", str(tmp_path / "odd.csv"), *words]) == 0
        capsys.readouterr()


def test_parquet_that_makes_polars_panic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Callable[[list[str], Path], str]
) -> None:
    """Its panic is no Exception."""
    polars = pytest.importorskip("polars")

    def panics(file: object) -> None:
        raise polars.exceptions.PanicException("unreachable")

    polars.DataFrame({"a": [1, 2]}).write_parquet(tmp_path / "a.parquet")
    monkeypatch.setattr(polars, "read_parquet", panics)
    stderr = refusal(["train", "--data", "a.parquet"], tmp_path)
    assert "a.parquet: cannot be read as .parquet: unreachable" in stderr
