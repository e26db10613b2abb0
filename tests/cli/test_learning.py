"""What `softstep train` learns with its own defaults, when it stops, and what it says of it."""

import re
from pathlib import Path

import numpy as np
import pytest

from softstep.cli import main
from softstep.cli.classifier.records import Settings
from softstep.cli.classifier.training import Control, Trainer
from softstep.cli.errors import Diverged
from softstep.training.batches import Samples
from softstep.training.evaluation import mean_loss
from tests.cli.command_line import arrays, blobs, logits_of, softstep, write_csv
from tests.support.problems import posed

POSITION = ["1,9,0,4", "0,2,1,3", "1,8,2,5", "0,1,2,4", "1,7,1,3", "0,3,1,5", "1,9,2,4", "0,2,2,3"]


def settings(**changes: object) -> Settings:
    defaults = {
        "epochs": 40, "batch_size": None, "hidden": [16], "lr": None, "schedule": "cosine",
        "weight_decay": None, "momentum": 0.9, "label_smoothing": 0.0, "test_fraction": 0.2,
        "validation_fraction": None, "patience": 10, "seed": 0,
    }  # fmt: skip
    return Settings(**{**defaults, **changes})


def trained(run: Trainer) -> Trainer:
    list(run.epochs(Control()))
    return run


def test_eight_rows_are_enough_to_see_what_separates_them(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", *POSITION)
    stdout, _ = softstep("train", "--data", "t.csv", "--label-column", "0", cwd=tmp_path)
    assert stdout.endswith("\ntest accuracy: 1.0000\n")


def test_without_hidden_layers_it_is_the_linear_softmax(tmp_path: Path) -> None:
    features, labels = blobs()
    np.savez(tmp_path / "blobs.npz", X=features, y=labels)
    stdout, _ = softstep("train", "--data", "blobs.npz", "--hidden", "0", cwd=tmp_path)
    assert "MLP 3-3," in stdout
    saved = arrays(tmp_path / "softstep-run" / "weights.npz")
    assert saved["weight0"].shape == (3, 3) and "weight1" not in saved
    words = ["--weights", "softstep-run/weights.npz", "--data", "blobs.npz"]
    assert "accuracy: 0.9" in softstep("predict", *words, cwd=tmp_path)[1]


def test_the_log_loss_and_the_majority_of_the_held_out_rows(tmp_path: Path) -> None:
    features, labels = blobs()
    rows, test = np.arange(90), np.arange(90, 120)
    labels = np.minimum(labels, 1)
    parts = {"x_train": features[rows], "y_train": labels[rows]}
    parts.update({"x_test": features[test], "y_test": labels[test]})
    np.savez(tmp_path / "t.npz", **parts)
    stdout, _ = softstep("train", "--data", "t.npz", cwd=tmp_path)
    line = re.search(r"^log loss: (\S+); the majority class alone: accuracy (\S+)$", stdout, re.M)
    assert line, stdout
    logits = logits_of(arrays(tmp_path / "softstep-run" / "weights.npz"), features[test])
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = -log_p[np.arange(30), labels[test]].mean()
    assert float(line[1]) == pytest.approx(expected, abs=6e-5)
    assert line[2] == f"{labels[test].mean():.4f}"


def noise(rows: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.standard_normal((rows, 8)).astype(np.float32), rng.integers(3, size=rows)


def test_it_stops_by_the_rows_held_out_and_keeps_the_best_epoch() -> None:
    # Labels that nothing tells: every epoch but the first ones makes it worse.
    run = trained(Trainer(
        settings(patience=5, weight_decay=0.0, lr=0.1),
        posed(noise(300), noise(50), "abc", noise(60)),
        np.random.default_rng(3),
    ))  # fmt: skip
    losses = [epoch.validation_loss for epoch in run.history]
    best = int(np.argmin(losses))
    assert len(losses) == best + 6 < 40
    features, labels = noise(60)
    samples = Samples(features, labels, None, np.arange(60))
    assert mean_loss(run.weights, run.biases, samples) == pytest.approx(losses[best], rel=1e-5)


def test_rows_are_held_out_of_large_tables_only() -> None:
    for rows, validation in ((9_999, 0), (10_000, 1_000)):
        held_out = settings().held_out(rows)
        assert round(held_out * rows) == validation
    assert settings(validation_fraction=0.0).held_out(10_000) == 0.0


def test_a_rate_for_many_columns_is_found() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 5000)).astype(np.float32)
    rows = x, (x[:, 0] > 0).astype(np.int64)
    run = trained(Trainer(settings(), posed(rows, rows, "ab"), np.random.default_rng(0)))
    assert run.history[-1].train_accuracy == 1.0


@pytest.mark.parametrize("lr", [30.0, 1e4])
def test_a_rate_that_leads_nowhere_is_an_error(lr: float) -> None:
    features, labels = blobs()
    rows = features.astype(np.float32), labels
    run = Trainer(settings(lr=lr), posed(rows, rows, "abc"), np.random.default_rng(0))
    with pytest.raises(
        Diverged, match=r"the training diverged: the loss is .*: try a smaller --lr"
    ):
        trained(run)


def test_a_loss_that_did_not_fall_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    features, labels = blobs()
    np.savez("blobs.npz", X=features, y=np.minimum(labels, 1))
    assert main(["train", "--data", "blobs.npz", "--quiet", "--lr", "1e-9"]) == 0
    assert re.fullmatch(
        r"softstep train: warning: the loss, 0\.69\d\d, did not fall below 0\.63\d\d, that of the "
        r"classes' shares alone: more --epochs or another --lr may help\n",
        capsys.readouterr().err,
    )
    assert main(["train", "--data", "blobs.npz", "--quiet"]) == 0
    assert capsys.readouterr().err == ""
