"""Train an MLP: stochastic gradient descent on softmax, cross-entropy and an L2 penalty."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, astuple, dataclass, field
from typing import Any

import numpy as np

import softstep as ss
from softstep.cli.archive import Arrays
from softstep.cli.errors import Diverged
from softstep.cli.labels import Indices
from softstep.cli.mlp import MLP, Floats, initial_parameters
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


@dataclass
class Position:
    """Between which steps the training is, and the sums over the epoch so far."""

    epoch: int = 1
    rows: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    seconds: float = 0.0
    # The generator's state before it drew the order of the epoch's rows.
    rng: Mapping[str, Any] = field(default_factory=dict)


class Control:
    """What the outside has a say in between two steps; says nothing."""

    def after_step(self, rows: int) -> None:
        """``rows`` more rows have been trained on. May raise, to end the training here."""


class Trainer:
    """One training run; ``epochs`` runs it, ``weights`` and ``biases`` are what it trains."""

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
        groups: list[dict[str, Any]] = [
            {"params": self.weights, "weight_decay": settings.weight_decay},
            {"params": self.biases},
        ]
        self.optimiser = ss.SGD(groups, settings.lr, momentum=settings.momentum)
        self.epoch_steps = math.ceil(len(self.labels) / rows)
        self.rate = SCHEDULES[settings.schedule](settings.lr, settings.epochs * self.epoch_steps)
        self.history: list[Epoch] = []
        self.position = Position(rng=rng.bit_generator.state)

    def epochs(self, control: Control) -> Iterator[Epoch]:
        """Train from where it is, with ``control`` after each step; yield after each epoch."""
        while self.position.epoch <= self.settings.epochs:
            # Divergence is reported as such, not as NumPy's warnings.
            with np.errstate(over="ignore", invalid="ignore"):
                epoch = self._epoch(control)
            yield epoch

    def _epoch(self, control: Control) -> Epoch:
        at, count, size = self.position, len(self.labels), self.model.rows
        self.rng.bit_generator.state = at.rng
        order = self.rng.permutation(count)
        while at.rows < count:
            rows = order[at.rows : at.rows + size]
            self._step(rows)
            control.after_step(len(rows))
        test_loss, predictions = self._evaluate()
        epoch = Epoch(
            epoch=at.epoch,
            lr=self.rate((at.epoch - 1) * self.epoch_steps),
            data_loss=at.loss_sum / count,
            # weight_decay is 2 lambda: the derivative of lambda ||w||^2 is 2 lambda w.
            l2_penalty=ss.l2_penalty(self.weights, self.settings.weight_decay / 2),
            train_accuracy=at.correct / count,
            test_loss=test_loss,
            test_accuracy=float(np.mean(predictions == self.test_labels)),
            rows_per_second=count / at.seconds,
        )
        self.history.append(epoch)
        self.position = Position(at.epoch + 1, rng=self.rng.bit_generator.state)
        return epoch

    def _step(self, rows: Indices) -> None:
        """Make one step on ``rows`` and move the position behind it."""
        start, at = time.perf_counter(), self.position
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
        if not math.isfinite(loss):
            raise Diverged(
                f"the training diverged: the loss is {loss} in epoch {at.epoch}; "
                f"expected a finite loss: try a smaller --lr than {self.settings.lr:g}"
            )
        self.model.backward(dlogits)
        rate = self.rate((at.epoch - 1) * self.epoch_steps + at.rows // self.model.rows)
        self.optimiser.step([*self.model.weight_gradients, *self.model.bias_gradients], lr=rate)
        at.loss_sum += float(loss) * len(rows)
        at.correct += int(np.count_nonzero(predictions == labels))
        at.rows += len(rows)
        at.seconds += time.perf_counter() - start

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

    def state(self) -> Arrays:
        """Return all that `restore` needs to go on from here with the same bits."""
        arrays = {
            "position": np.array(json.dumps(asdict(self.position))),
            "history": np.array([astuple(epoch) for epoch in self.history], np.float64),
        }
        for name, values in self._parameters():
            arrays[name] = values
        for name, value in self.optimiser.state_dict().items():
            arrays[f"optimizer.{name}"] = np.asarray(value)
        return arrays

    def restore(self, arrays: Arrays) -> None:
        """Go to where `state` was called; ValueError or KeyError if ``arrays`` are not its."""
        optimiser = {
            name.removeprefix("optimizer."): value
            for name, value in arrays.items()
            if name.startswith("optimizer.")
        }
        self.optimiser.load_state_dict(optimiser)
        for name, values in self._parameters():
            if arrays[name].shape != values.shape:
                raise ValueError(f"{name}: expected {values.shape}, got {arrays[name].shape}")
            np.copyto(values, arrays[name], casting="no")
        self.history = [Epoch(int(number), *rest) for number, *rest in arrays["history"].tolist()]
        self.position = Position(**json.loads(str(arrays["position"])))

    def _parameters(self) -> Iterator[tuple[str, Floats]]:
        """Every array that is trained, by its name in a file."""
        for kind, arrays in (("weight", self.weights), ("bias", self.biases)):
            yield from ((f"{kind}{layer}", array) for layer, array in enumerate(arrays))
