"""`softstep train` on many ranks: the training of one, one message, and no rank left behind."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from softstep.cli import main
from softstep.cli.classifier.records import Settings
from softstep.cli.classifier.training import Control, Trainer
from softstep.cli.process import threads
from softstep.distributed import Communicator, Single
from tests.cli import train_on_ranks
from tests.cli.command_line import arrays, blobs
from tests.support.problems import posed
from tests.support.ranks import ThreadRanks, launch

PROGRAM = train_on_ranks.__file__


def trainer(comm: Communicator, batch_size: int, held_out: int = 11) -> Trainer:
    settings = Settings(
        epochs=4, batch_size=batch_size, hidden=[6], lr=0.1, schedule="cosine", weight_decay=0.01,
        momentum=0.9, label_smoothing=0.1, test_fraction=0.2,
        validation_fraction=0.0, patience=10, seed=0,
    )  # fmt: skip
    features, labels = blobs(41)
    features = features.astype(np.float32)
    test = features[:held_out], labels[:held_out]
    return Trainer(settings, posed((features, labels), test, "abc"), np.random.default_rng(3), comm)


def outcome(run: Trainer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the history, but how fast it was; the parameters; the confusion matrix."""
    history = np.array([list(vars(epoch).values())[:-1] for epoch in run.history])
    parameters = np.concatenate([each.ravel() for each in (*run.weights, *run.biases)])
    return history, parameters, run.outcome()[1]


def assert_same_training(got: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> None:
    # Some 50 to 170 steps, each of which rounds by 6e-8 of weights of up to 2; larger than that is
    # a row too much or too few, or a wrong mean: both change the first step by more than 1e-3.
    np.testing.assert_allclose(got[0], expected[0], rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(got[1], expected[1], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(got[2], expected[2])


# Batches of 7 leave one of 6; batches of 2, and 2 held-out rows, leave a third rank without any.
@pytest.mark.parametrize(("batch_size", "held_out"), [(7, 11), (2, 2), (100, 1)])
def test_many_ranks_train_as_one(batch_size: int, held_out: int) -> None:
    def train(comm: Communicator) -> Any:
        run = trainer(comm, batch_size, held_out)
        list(run.epochs(Control()))
        return outcome(run)

    expected = train(Single())
    for size in (2, 3):
        for got in ThreadRanks(size).run(train):
            assert_same_training(got, expected)


class Wishing(Control):
    """Rank 1 wishes both after step 9; keeps the state when it is told to, and stops."""

    def __init__(self, run: Trainer) -> None:
        self.run, self.steps, self.state = run, 0, dict[str, np.ndarray]()

    def wishes(self) -> tuple[bool, bool]:
        wish = self.run.comm.rank == self.run.comm.size - 1 and self.steps == 8
        return wish, wish

    def after_step(self, rows: int, stop: bool, save: bool) -> None:
        self.steps += 1
        if save:
            self.state = self.run.state()
        if stop:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 3), (3, 2), (2, 2)])
def test_a_checkpoint_of_some_ranks_is_one_for_others(before: int, after: int) -> None:
    def stopped(comm: Communicator) -> dict[str, np.ndarray]:
        run = trainer(comm, 7)
        control = Wishing(run)
        with pytest.raises(KeyboardInterrupt):
            list(run.epochs(control))
        assert control.steps == 9
        return {name: each.copy() for name, each in control.state.items()}

    states = ThreadRanks(before).run(stopped)

    def resumed(comm: Communicator) -> Any:
        run = trainer(comm, 7)
        run.restore(states[0])
        list(run.epochs(Control()))
        return outcome(run)

    whole = trainer(Single(), 7)
    list(whole.epochs(Control()))
    for got in ThreadRanks(after).run(resumed):
        assert_same_training(got, outcome(whole))


def test_ranks_divide_the_cores_that_they_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    for size, part in ((1, 8), (2, 4), (3, 2), (9, 1)):
        assert ThreadRanks(size).run(threads._part_of_cores) == [part] * size


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"OMP_NUM_THREADS": "2"}, True),
        ({"OMP_NUM_THREADS": "1"}, True),
        # torchrun's own.
        ({"OMP_NUM_THREADS": "1", "TORCHELASTIC_RUN_ID": "none"}, False),
        ({"OMP_NUM_THREADS": "2", "TORCHELASTIC_RUN_ID": "none"}, True),
    ],
)
def test_who_has_set_the_threads(
    environment: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_NUM_THREADS", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert threads._omp_is_set() == expected


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    features, labels = blobs()
    np.savez(tmp_path / "blobs.npz", X=features, y=labels)
    np.savez(tmp_path / "other.npz", X=features + 1e-3, y=labels)
    monkeypatch.chdir(tmp_path)
    assert main([*train_on_ranks.WORDS, "--quiet", "--output", "one"]) == 0
    return tmp_path


def assert_like_one(folder: str) -> None:
    got, expected = (arrays(Path(name) / "weights.npz") for name in (folder, "one"))
    for name in ("weight0", "bias0", "weight1", "bias1"):
        np.testing.assert_allclose(got[name], expected[name], rtol=0, atol=1e-5, err_msg=folder)
    assert sorted(os.listdir(folder)) == ["history.csv", "weights.npz"]


ONCE = [
    "96 rows to train, 24 held out; 2 ranks",
    "epoch 6/6",
    "written: many/history.csv, many/weights.npz",
    "softstep train: interrupted in epoch 3: the 2 before it are in stopped/history.csv",
    "--resume goes on from stopped/checkpoint.npz",
    "error: nowhere.npz: cannot be read: No such file or directory",
    "error: rank 1 of 2: missing.npz: cannot be read: No such file or directory",
    "error: expected the same data on each of the 2 ranks",
    "error: expected the same settings on each of the 2 ranks",
    "error: --resume: there is no softstep-run/checkpoint.npz: start without --resume",
    "error: argument --lr: expected a number > 0, got '-1'",
    "error: the training diverged",
    "error: rank 1 of 2: not enough memory: the last rank has none",
]


@pytest.mark.parametrize("engine", ["mpi", "gloo"])
def test_two_processes(engine: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_on_ranks, "LAST", True)
    words = "--quiet", "--output", "of-one", "--checkpoint-every", "1e-4"
    assert train_on_ranks.train(*words, at=13, do=train_on_ranks.fail) == 1
    output = launch(engine, 2, PROGRAM, "everything", status=1)
    assert {text: output.count(text) for text in ONCE} == dict.fromkeys(ONCE, 1)
    assert output.count("test accuracy: ") == 3
    # These ranks of gloo have no launcher that ends the other one before it speaks.
    advice = "softstep train: --resume goes on from left/checkpoint.npz"
    assert output.count(advice) == (1 if engine == "mpi" else 2)
    assert not Path("softstep-run").exists() and not Path("diverged").exists()
    assert main([*train_on_ranks.WORDS, "--quiet", "--output", "left", "--resume"]) == 0
    for folder in ("many", "stopped", "of-one", "left"):
        assert_like_one(folder)


@pytest.mark.parametrize(
    ("engine", "how"), [("mpi", "killed"), ("mpi", "late"), ("torchrun", "killed")]
)
def test_a_rank_that_is_lost_ends_all(engine: str, how: str, data: Path) -> None:
    output = launch(engine, 2, PROGRAM, how, status=None)
    if how == "late":
        assert output.count("error: rank 0 of 2: all_reduce did not end within 1 s") == 1
        assert output.count(f"--resume goes on from {how}/checkpoint.npz") == 1
    else:
        assert "ignal 9" in output  # the launcher says so
    assert main([*train_on_ranks.WORDS, "--quiet", "--output", how, "--resume"]) == 0
    assert_like_one(how)
