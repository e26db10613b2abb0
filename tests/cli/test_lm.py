"""`softstep lm` as a user runs it: result, files, both heads, repeatability, Ctrl-C, mistakes."""

import csv
import re
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

from softstep.cli.data.corpus import read_corpus
from tests.cli.command_line import COMMAND, arrays, contents, softstep
from tests.cli.phrases import SMALL, train, write_phrases

HISTORY = ["step", "lr", "train_loss", "test_loss", "test_perplexity", "rows_per_second"]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of phrases, with files that are no text."""
    folder = tmp_path_factory.mktemp("text")
    write_phrases(folder)
    (folder / "notes").mkdir()
    (folder / "notes" / "empty.md").write_text(" \n")
    (folder / "picture.bin").write_bytes(bytes(range(256)))
    return folder


def perplexities(stdout: str) -> tuple[float, float]:
    """Return the model's and the unigrams' of the final line."""
    pattern = r"held-out perplexity: (\d+\.\d\d) \(unigrams: (\d+\.\d\d)\)"
    line = re.fullmatch(pattern, stdout.splitlines()[-1])
    assert line, stdout
    return float(line[1]), float(line[2])


@pytest.fixture(scope="module")
def trained(text: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """Return the folder of the result, stdout and stderr."""
    cwd = tmp_path_factory.mktemp("trained")
    stdout, stderr = train(text, "--plot", cwd=cwd)
    return cwd / "softstep-lm", stdout, stderr


def test_the_model_beats_the_unigrams(trained: tuple[Path, str, str]) -> None:
    model, unigrams = perplexities(trained[1])
    # Two bits per phrase of three to five words are all that cannot be known: 2 ** (2 / 4) = 1.4.
    assert 1.3 < model < 2.5 and unigrams > 10


def held_out_perplexity(saved: dict[str, np.ndarray], text: Path) -> float:
    """Return what the weights file defines, in float64 and without softstep's functions."""
    corpus = read_corpus(text, 25_000, 4, 0.05, np.random.default_rng(0))
    assert saved["vocabulary"].tolist() == corpus.vocabulary
    context, target = corpus.test.batch(corpus.test.positions)
    x = saved["embedding"].astype(float)[context].reshape(len(target), -1)
    if "hidden_weight" in saved:
        x = np.maximum(x @ saved["hidden_weight"] + saved["hidden_bias"], 0)
    logits = x @ saved["head_weight"].T + saved["head_bias"]
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return float(np.exp(-log_p[np.arange(len(target)), target].mean()))


def test_the_weights_give_the_perplexity(trained: tuple[Path, str, str], text: Path) -> None:
    saved = arrays(trained[0] / "weights.npz")
    assert held_out_perplexity(saved, text) == pytest.approx(perplexities(trained[1])[0], abs=6e-3)


def test_without_a_hidden_layer(text: Path, tmp_path: Path) -> None:
    stdout, stderr = train(text, "--hidden", "0", "--quiet", cwd=tmp_path)
    assert stdout.count("\n") == 1 and stderr == ""
    saved = arrays(tmp_path / "softstep-lm" / "weights.npz")
    assert "hidden_weight" not in saved and saved["head_weight"].shape[1] == 4 * 8
    assert held_out_perplexity(saved, text) == pytest.approx(perplexities(stdout)[0], abs=6e-3)


def test_history_and_progress_have_a_line_per_checkpoint(trained: tuple[Path, str, str]) -> None:
    with open(trained[0] / "history.csv", newline="") as file:
        history = list(csv.DictReader(file))
    assert list(history[0]) == HISTORY
    assert [int(row["step"]) for row in history] == list(range(2, 41, 2))
    assert float(history[-1]["test_perplexity"]) == pytest.approx(
        perplexities(trained[1])[0], abs=6e-3
    )
    line = r"checkpoint +\d+/20  loss \d\.\d{3}  held-out perplexity \d+\.\d  \d+ rows/s"
    lines = trained[2].splitlines()
    assert len(lines) == 20 and all(re.fullmatch(line, each) for each in lines)


def test_the_heads_are_compared(trained: tuple[Path, str, str]) -> None:
    lines = trained[1].splitlines()
    rows = [line.split() for line in lines if re.match(r"linear_cross_entropy|dense logits", line)]
    assert len(rows) == 2
    assert float(rows[0][-1]) == pytest.approx(float(rows[1][-1]), abs=2e-6)
    assert any(re.fullmatch(r"\d+ rows/s, peak memory \d+ MiB", line) for line in lines)


def test_picture_shows_something(trained: tuple[Path, str, str]) -> None:
    image = pytest.importorskip("matplotlib.image").imread(trained[0] / "training.png")
    assert image.shape == (750, 1350, 4) and image[..., :3].std() > 0.05


def test_the_same_seed_gives_the_same_bits(trained: tuple[Path, str, str], text: Path) -> None:
    first, cwd = (trained[0] / "weights.npz").read_bytes(), trained[0].parent
    train(text, "--output", "one", "--threads", "1", "--quiet", cwd=cwd)
    assert (cwd / "one" / "weights.npz").read_bytes() == first
    train(text, "--output", "other", "--seed", "1", "--quiet", cwd=cwd)
    assert (cwd / "other" / "weights.npz").read_bytes() != first


def test_dense_logits_train_the_same_model(trained: tuple[Path, str, str], text: Path) -> None:
    cwd = trained[0].parent
    stdout, _ = train(text, "--output", "dense", "--dense", cwd=cwd)
    assert "linear_cross_entropy" not in stdout
    ours, theirs = (arrays(folder / "weights.npz") for folder in (trained[0], cwd / "dense"))
    for name in ("embedding", "hidden_weight", "head_weight", "head_bias"):
        # Forty steps of differently rounded gradients: 1.4e-4 where this was measured.
        np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=5e-4)


def interrupt(text: Path, cwd: Path) -> tuple[int, str]:
    """Press Ctrl-C after the second checkpoint; return the status and the last line on stderr."""
    words = ["--steps", "1000000", "--checkpoints", "100000", "--batch-size", "64"]
    # A shell without job control starts what is in its background with Ctrl-C ignored.
    process = subprocess.Popen(
        [*COMMAND, "lm", "--text", str(text), *words],
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with process:
        assert process.stderr is not None
        last = ""
        for line in process.stderr:
            last = line
            if "checkpoint      2/100000" in line:
                process.send_signal(signal.SIGINT)
    return process.returncode, last


def test_ctrl_c_keeps_every_step_and_an_earlier_result(text: Path, tmp_path: Path) -> None:
    status, message = interrupt(text, tmp_path)
    assert status == 130
    pattern = (
        r"softstep lm: interrupted after step (\d+) of 1000000: it is in (.*); "
        r"--resume goes on from softstep-lm/checkpoint.npz\n"
    )
    match = re.fullmatch(pattern, message)
    assert match and int(match[1]) >= 20
    before = contents(tmp_path / "softstep-lm")
    assert sorted(before) == ["checkpoint.npz", "history.csv", "weights.npz"]
    settings = str(arrays(tmp_path / "softstep-lm" / "weights.npz")["settings"])
    assert f'"steps_done": {match[1]}' in settings
    assert interrupt(text, tmp_path)[0] == 2
    (tmp_path / "softstep-lm" / "checkpoint.npz").unlink()
    del before["checkpoint.npz"]
    assert interrupt(text, tmp_path)[0] == 130
    after = contents(tmp_path / "softstep-lm")
    kept = {"checkpoint.npz", "interrupted-history.csv", "interrupted-weights.npz"}
    assert set(after) - set(before) == kept
    assert all(after[name] == before[name] for name in before)


REFUSED = {
    "--text nowhere": "nowhere: expected a text file or a folder of them (.md .py .rst .txt): No",
    "--text empty": "empty: expected two words or more, got 0",
    "--sample 3": "--sample, --prompt: expected --weights FILE, the model that is to write",
    "--weights file.txt": "--weights: expected --text TEXT, to judge it by, or --sample N",
    "--weights file.txt --sample 3": "file.txt: expected a weights file that `softstep lm` wrote,",
    "--text same": "same: expected two different words or more to train on, got one",
    "--lr 0": "argument --lr: expected a number > 0, got '0'",
    "--vocabulary 2": "argument --vocabulary: expected a whole number from 3",
    "--context 0": "argument --context: expected a whole number from 1 to 64, got '0'",
    "--steps 0": "argument --steps: expected a whole number from 1",
    "--test-fraction 1": "argument --test-fraction: expected a number between 0 and 1, got '1'",
    "--threads 100000": "--threads: ",
}


@pytest.mark.parametrize("words", REFUSED)
def test_mistakes_get_one_line(words: str, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("some words")
    (tmp_path / "empty").mkdir()
    (tmp_path / "same").mkdir()
    for name in "ab":
        (tmp_path / "same" / f"{name}.txt").write_text("word word word")
    _, stderr = softstep("lm", *words.split(), cwd=tmp_path, status=2)
    assert stderr.startswith(f"softstep lm: error: {REFUSED[words]}") and stderr.count("\n") == 1
    assert not (tmp_path / "softstep-lm").exists()


def test_a_diverging_training_and_results_of_others_leave_no_trace(
    text: Path, tmp_path: Path
) -> None:
    words = ["lm", "--text", str(text), *SMALL, "--quiet"]
    # Beyond float32, and only far from anything useful.
    for lr in ("1e30", "3000"):
        _, stderr = softstep(*words, "--lr", lr, cwd=tmp_path, status=1)
        assert stderr.startswith("softstep lm: error: the training diverged: the loss is ")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "softstep-lm").mkdir()
    np.savez(tmp_path / "softstep-lm" / "weights.npz", format=np.array("softstep-mlp-1"))
    before = contents(tmp_path / "softstep-lm")
    _, stderr = softstep(*words, cwd=tmp_path, status=2)
    assert "expected a folder without a weights.npz of other origin" in stderr
    assert contents(tmp_path / "softstep-lm") == before
