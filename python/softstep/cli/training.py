"""Train an MLP: stochastic gradient descent on softmax, cross-entropy and an L2 penalty."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

import softstep as ss
from softstep.cli.errors import RunError
from softstep.cli.labels import Indices
from softstep.cli.mlp import MLP, initial_parameters
from softstep.cli.schedule import SCHEDULES
from softstep.cli.split import Problem

# Rows per product outside training, where the batch size has no meaning.
EVALUATION_ROWS = 1024


@dataclass(frozen=True)
class Settings:
    """What a result depends on, besides the data."""

    epochs: int
    batch_size: int
    hidden: list[int]
    lr: float
    schedule: str
    weight_decay: float
    momentum: float
    label_smoothing: float
    test_fraction: float
    seed: int


@dataclass(frozen=True)
class Epoch:
    """A row of the history. ``data_loss``, ``train_accuracy``: averages while the epoch ran."""

    epoch: int
    lr: float
    data_loss: float
    l2_penalty: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    rows_per_second: float

    def __str__(self) -> str:
        loss = f"loss {self.data_loss:.4f} + l2 {self.l2_penalty:.4f}"
        return f"{loss}  test acc {self.test_accuracy:.4f}"


class Trainer:
    """One training run; ``epochs`` runs it, ``weights`` and ``biases`` are its state."""

    def __init__(self, settings: Settings, problem: Problem, rng: np.random.Generator) -> None:
        self.settings = settings
        self.features, self.labels = problem.train
        self.test_features, self.test_labels = problem.test
        self.sizes = [self.features.shape[1], *settings.hidden, len(problem.classes)]
        self.weights, self.biases = initial_parameters(self.sizes, rng)
        self.rng = rng
        rows = min(settings.batch_size, len(self.labels))
        self.model = MLP(self.weights, self.biases, rows, gradients=True)
        self.evaluator = MLP(self.weights, self.biases, min(EVALUATION_ROWS, len(self.test_labels)))
        self.batch = np.empty((rows, self.sizes[0]), np.float32)
        self.batch_labels = np.empty(rows, np.int64)
        self.predictions = np.empty(rows, np.intp)
        # The penalty is on the weights alone: a bias makes no function wilder.
        self.weight_optimiser = ss.SGD(
            self.weights,
            settings.lr,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
        self.bias_optimiser = ss.SGD(self.biases, settings.lr, momentum=settings.momentum)
        steps = settings.epochs * math.ceil(len(self.labels) / rows)
        self.rate = SCHEDULES[settings.schedule](settings.lr, steps)
        self.steps_done = 0

    def epochs(self, on_rows: Callable[[int], None]) -> Iterator[Epoch]:
        """Train, telling ``on_rows`` the rows of each batch; yield at the end of each epoch."""
        for number in range(1, self.settings.epochs + 1):
            # Divergence is reported as such, not as NumPy's warnings.
            with np.errstate(over="ignore", invalid="ignore"):
                epoch = self._epoch(number, on_rows)
            yield epoch

    def _epoch(self, number: int, on_rows: Callable[[int], None]) -> Epoch:
        lr = self.rate(self.steps_done)
        count, size = len(self.labels), self.model.rows
        order = self.rng.permutation(count)
        loss_sum, correct = 0.0, 0
        start = time.perf_counter()
        for first in range(0, count, size):
            rows = order[first : first + size]
            loss, hits = self._step(rows)
            if not math.isfinite(loss):
                raise RunError(
                    f"the training diverged: the loss is {loss} in epoch {number}; "
                    f"expected a finite loss: try a smaller --lr than {self.settings.lr:g}"
                )
            loss_sum += loss * len(rows)
            correct += hits
            on_rows(len(rows))
        seconds = time.perf_counter() - start
        test_loss, predictions = self._evaluate()
        return Epoch(
            epoch=number,
            lr=lr,
            data_loss=loss_sum / count,
            # weight_decay is 2 lambda: the derivative of lambda ||w||^2 is 2 lambda w.
            l2_penalty=ss.l2_penalty(self.weights, self.settings.weight_decay / 2),
            train_accuracy=correct / count,
            test_loss=test_loss,
            test_accuracy=float(np.mean(predictions == self.test_labels)),
            rows_per_second=count / seconds,
        )

    def _step(self, rows: Indices) -> tuple[float, int]:
        """Make one step on ``rows``; return the mean data loss and the correct predictions."""
        batch = self.batch[: len(rows)]
        labels = self.batch_labels[: len(rows)]
        predictions = self.predictions[: len(rows)]
        # mode="raise" would go through a temporary copy of the batch.
        np.take(self.features, rows, axis=0, out=batch, mode="clip")
        np.take(self.labels, rows, out=labels, mode="clip")
        logits = self.model.forward(batch)
        np.argmax(logits, axis=1, out=predictions)
        loss, dlogits = ss.cross_entropy_with_grad(
            logits, labels, label_smoothing=self.settings.label_smoothing, out=logits
        )
        self.model.backward(dlogits)
        rate = self.rate(self.steps_done)
        self.weight_optimiser.step(self.model.weight_gradients, lr=rate)
        self.bias_optimiser.step(self.model.bias_gradients, lr=rate)
        self.steps_done += 1
        return float(loss), int(np.count_nonzero(predictions == labels))

    def _evaluate(self) -> tuple[float, Indices]:
        """Return the mean data loss on the held-out rows and their predicted classes."""
        count = len(self.test_labels)
        predictions = np.empty(count, np.int64)
        loss_sum = 0.0
        for first in range(0, count, self.evaluator.rows):
            part = slice(first, first + self.evaluator.rows)
            logits = self.evaluator.forward(self.test_features[part])
            np.argmax(logits, axis=1, out=predictions[part])
            loss = ss.cross_entropy(
                logits,
                self.test_labels[part],
                label_smoothing=self.settings.label_smoothing,
                reduction="sum",
            )
            loss_sum += float(loss)
        return loss_sum / count, predictions

    def predict_test(self) -> Indices:
        """Return the predicted classes of the held-out rows."""
        return self._evaluate()[1]
