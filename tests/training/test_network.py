"""The network and a training step of `softstep train` against float64 and its definition."""

import numpy as np
import pytest

from softstep.cli.classifier.records import Settings
from softstep.cli.classifier.training import Control, Trainer
from softstep.cli.data.split import stratified_split
from softstep.training.network import MLP, initial_parameters
from softstep.training.schedules import SCHEDULES
from tests.support.problems import posed

SIZES = [5, 7, 6, 4]


def loss_of(parameters: list[np.ndarray], x: np.ndarray, labels: np.ndarray, eps: float) -> float:
    """Return the mean cross-entropy, labels smoothed by `eps`, in float64."""
    layers = len(parameters) // 2
    for layer in range(layers):
        x = x @ parameters[layer] + parameters[layers + layer]
        x = np.maximum(x, 0) if layer < layers - 1 else x
    log_p = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
    hits = log_p[np.arange(len(labels)), labels]
    return float(-np.mean((1 - eps) * hits + eps * log_p.mean(axis=1)))


def derivative(parameters: list[np.ndarray], *data: object) -> list[np.ndarray]:
    """Return the central differences of `loss_of` by every parameter."""
    step, result = 1e-5, []
    for parameter in parameters:
        slope = np.empty_like(parameter)
        for index in np.ndindex(parameter.shape):
            kept = parameter[index]
            parameter[index] = kept + step
            above = loss_of(parameters, *data)
            parameter[index] = kept - step
            slope[index] = (above - loss_of(parameters, *data)) / (2 * step)
            parameter[index] = kept
        result.append(slope)
    return result


def doubles(*arrays: list[np.ndarray]) -> list[np.ndarray]:
    return [array.astype(np.float64) for part in arrays for array in part]


@pytest.fixture
def data(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return rng.standard_normal((9, SIZES[0])).astype(np.float32), rng.integers(0, SIZES[-1], 9)


def settings(**changes: object) -> Settings:
    defaults = {
        "epochs": 1, "batch_size": 9, "hidden": SIZES[1:-1], "lr": 0.3, "schedule": "constant",
        "weight_decay": 0.1, "momentum": 0.0, "label_smoothing": 0.2, "test_fraction": 0.2,
        "validation_fraction": 0.0, "patience": 10, "seed": 0,
    }  # fmt: skip
    return Settings(**{**defaults, **changes})


def trainer(data: tuple[np.ndarray, np.ndarray], **changes: object) -> Trainer:
    return Trainer(settings(**changes), posed(data, data, "abcd"), np.random.default_rng(3))


class Counting(Control):
    def __init__(self) -> None:
        self.rows: list[int] = []

    def after_step(self, rows: int, stop: bool, save: bool) -> None:
        self.rows.append(rows)


def test_a_smaller_batch_gives_the_same_logits(rng: np.random.Generator) -> None:
    weights, biases = initial_parameters(SIZES, rng)
    x = rng.standard_normal((9, SIZES[0])).astype(np.float32)
    model = MLP(weights, biases, 9)
    whole = model.forward(x).copy()
    np.testing.assert_allclose(model.forward(x[:4]), whole[:4], rtol=1e-5, atol=1e-6)


def test_one_step_is_the_gradient_step_with_decay_of_the_weights_alone(
    data: tuple[np.ndarray, np.ndarray],
) -> None:
    run = trainer(data)
    before = doubles(run.weights, run.biases)
    slopes = derivative(before, data[0].astype(float), data[1], 0.2)
    (epoch,) = run.epochs(Control())
    # w <- (1 - 2 alpha lambda) w - alpha dw with 2 lambda = 0.1; b <- b - alpha db.
    decay = [1 - 0.3 * 0.1] * len(run.weights) + [1.0] * len(run.biases)
    for after, old, factor, slope in zip(
        doubles(run.weights, run.biases), before, decay, slopes, strict=True
    ):
        np.testing.assert_allclose(after, factor * old - 0.3 * slope, rtol=0, atol=2e-6)
    assert epoch.data_loss == pytest.approx(loss_of(before, *data, 0.2), rel=1e-5)
    after_loss = loss_of(doubles(run.weights, run.biases), *data, 0.2)
    assert epoch.test_loss == pytest.approx(after_loss, rel=1e-5)


def test_every_row_is_used_once_an_epoch(data: tuple[np.ndarray, np.ndarray]) -> None:
    run = trainer(data, batch_size=4, lr=1e-30, weight_decay=0.0)
    counting = Counting()
    (epoch,) = run.epochs(counting)
    assert counting.rows == [4, 4, 1]
    # The weights stand still: the mean over the batches is the mean over the rows.
    loss = loss_of(doubles(run.weights, run.biases), *data, 0.2)
    assert epoch.data_loss == pytest.approx(loss, rel=1e-5)


def test_a_batch_larger_than_the_data_is_the_data(data: tuple[np.ndarray, np.ndarray]) -> None:
    counting = Counting()
    list(trainer(data, batch_size=10**9).epochs(counting))
    assert counting.rows == [9]


@pytest.mark.parametrize(
    ("name", "middle", "last"),
    [("constant", 0.5, 0.5), ("inverse-time", 0.5 / 5.5, 0.5 / 10), ("cosine", 0.25, 0.0)],
)
def test_schedules(name: str, middle: float, last: float) -> None:
    rate = SCHEDULES[name](0.5, 1000)
    assert rate(0) == 0.5
    assert rate(500) == pytest.approx(middle)
    assert rate(999) == pytest.approx(last, abs=1e-3)


def test_the_split_takes_a_part_of_every_class(rng: np.random.Generator) -> None:
    labels = np.repeat(np.arange(4), [2, 3, 10, 100])
    train, test = stratified_split(labels, 0.2, rng)
    assert np.bincount(labels[test]).tolist() == [1, 1, 2, 20]
    assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(115))
