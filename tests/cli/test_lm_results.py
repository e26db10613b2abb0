"""`softstep lm`: to go on after an interruption, and what a trained model is for."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from softstep.cli.data.corpus import WORD, read_corpus
from softstep.cli.files.checkpoint import Checkpoint, Identity
from softstep.cli.language_model.training import Settings, Trainer
from tests.cli.command_line import arrays, contents, softstep
from tests.cli.phrases import PHRASES, SMALL, train, write_phrases


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    write_phrases(folder)
    return folder


@pytest.fixture(scope="module")
def trained(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a result."""
    cwd = tmp_path_factory.mktemp("trained")
    train(text, "--no-comparison", cwd=cwd)
    return cwd / "softstep-lm"


class Stop(Exception):
    """Raised after a step."""


@pytest.mark.parametrize("at", [1, 3, 4, 7, 8])
def test_going_on_after_any_step_gives_the_same_bits(at: int, text: Path, tmp_path: Path) -> None:
    settings = Settings(
        vocabulary=50, context=3, embedding=4, hidden=5, steps=8, checkpoints=2, batch_size=700,
        lr=0.5, schedule="cosine", momentum=0.9, max_norm=1.0, test_fraction=0.2, seed=0,
        dense=False,
    )  # fmt: skip

    def trainer() -> Trainer:
        rng = np.random.default_rng(1)
        return Trainer(settings, read_corpus(text, 50, 3, 0.2, rng), rng)

    identity = Identity({"seed": 0}, "text", "00")
    (tmp_path / "staging").mkdir()
    checkpoint = Checkpoint(tmp_path, tmp_path / "staging", identity, 5.0, "lm")
    whole, stopped, resumed = trainer(), trainer(), trainer()
    list(whole.checkpoints(lambda rows: None))

    def stop(rows: int) -> None:
        if stopped.optimiser.steps == at:
            checkpoint.save(stopped.state(), 0.0)
            raise Stop

    with pytest.raises(Stop):
        list(stopped.checkpoints(stop))
    resumed.restore(checkpoint.load())
    assert resumed.optimiser.steps == at
    list(resumed.checkpoints(lambda rows: None))
    for run in (whole, resumed):
        run.history[:] = [replace(each, rows_per_second=0.0) for each in run.history]
    assert resumed.history == whole.history and len(whole.history) == 2
    for name, values in whole.model.parameters.items():
        assert np.array_equal(resumed.model.parameters[name], values)


def test_a_training_that_was_interrupted_goes_on(text: Path, tmp_path: Path) -> None:
    words = ["lm", "--text", str(text), *SMALL, "--quiet"]
    softstep(*words, "--output", "whole", cwd=tmp_path)
    script = (
        "import sys; from softstep.cli import main; from softstep.cli.language_model import watch\n"
        "import os, signal; step = watch.Trainer.batch\n"
        "def batch(self, rows):\n"
        "    self.optimiser.steps == 11 and os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return step(self, rows)\n"
        "watch.Trainer.batch = batch; sys.exit(main(sys.argv[1:]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 143, run.stderr
    assert run.stderr.startswith("softstep lm: interrupted after step 12 of 40: it is in ")
    _, stderr = softstep(*words, cwd=tmp_path, status=2)
    assert "is of a training that was not finished: go on from it with --resume" in stderr
    _, stderr = softstep(*words, "--resume", "--seed", "1", cwd=tmp_path, status=2)
    assert "is of a training with --seed 0, not --seed 1" in stderr
    softstep(*words, "--resume", cwd=tmp_path)
    folders = contents(tmp_path / "whole"), contents(tmp_path / "softstep-lm")
    assert sorted(folders[1]) == ["history.csv", "weights.npz"]
    assert folders[0]["weights.npz"] == folders[1]["weights.npz"]


def test_a_single_file_is_enough(text: Path, tmp_path: Path) -> None:
    """Its end is held out: nothing of it is trained on."""
    (tmp_path / "folder").mkdir()
    content = (text / "0.txt").read_text()
    for path in (tmp_path / "one.log", tmp_path / "folder" / "one.txt"):
        path.write_text(content)
    said = []
    for name in ("one.log", "folder"):
        stdout, _ = train(Path(name), "--test-fraction", "0.25", "--no-comparison", cwd=tmp_path)
        said.append(stdout.split(":", 1)[1].splitlines()[0])
    words = len(WORD.findall(content))
    held_out = words - round(0.75 * words)
    assert said == [f" 1 files, {words - held_out} words to train, {held_out} held out"] * 2


def test_a_trained_model_judges_a_text(trained: Path, text: Path) -> None:
    weights, other = str(trained / "weights.npz"), text / "3.txt"
    stdout, _ = softstep("lm", "--weights", weights, "--text", str(other), cwd=trained)
    match = re.fullmatch(
        r"perplexity: (\S+) \((\d+) words, 0.0% outside the vocabulary\)\n", stdout
    )
    assert match and 1.3 < float(match[1]) < 2.5
    saved = arrays(trained / "weights.npz")
    words = [saved["vocabulary"].tolist().index(word) for word in WORD.findall(other.read_text())]
    assert int(match[2]) == len(words)
    padded = np.array([len(saved["vocabulary"])] * 4 + words)
    context = np.stack([padded[k : k + len(words)] for k in range(4)], axis=1)
    x = saved["embedding"].astype(float)[context].reshape(len(words), -1)
    x = np.maximum(x @ saved["hidden_weight"] + saved["hidden_bias"], 0)
    logits = x @ saved["head_weight"].T + saved["head_bias"]
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = np.exp(-log_p[np.arange(len(words)), words].mean())
    assert float(match[1]) == pytest.approx(expected, abs=6e-3)


def test_a_trained_model_writes_what_follows(trained: Path) -> None:
    words = ["lm", "--weights", str(trained / "weights.npz"), "--sample", "40"]
    cold = [*words, "--temperature", "0.01", "--prompt"]
    # The most probable words after a word of a phrase are the rest of it.
    for prompt in ("a dog", "the cat"):
        stdout, _ = softstep(*cold, prompt, cwd=trained)
        phrase = next(each for each in PHRASES if each.startswith(prompt))
        assert stdout.startswith(phrase) and len(stdout.split()) == 42
    drawn = [softstep(*words, "--seed", seed, cwd=trained)[0] for seed in "001"]
    assert drawn[0] == drawn[1] != drawn[2] and "<unk>" not in drawn[2]
