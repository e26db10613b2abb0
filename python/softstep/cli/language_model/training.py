"""Train the language model; its state at regular checkpoints."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

import softstep as ss
from softstep.cli.data.corpus import Corpus, Part, Positions, Words
from softstep.cli.errors import Diverged
from softstep.cli.files.archive import array_of, json_of
from softstep.cli.files.checkpoint import rows_of, table_of
from softstep.cli.files.npy import Arrays
from softstep.cli.language_model.heads import DenseHead, FusedHead, Head
from softstep.cli.language_model.model import LanguageModel, initial_lm
from softstep.training.schedules import SCHEDULES

# Held-out words of a checkpoint; the last one takes all.
SAMPLE = 4096


@dataclass(frozen=True)
class Settings:
    """What a result depends on, besides the text."""

    vocabulary: int
    context: int
    embedding: int
    hidden: int
    steps: int
    checkpoints: int
    batch_size: int
    lr: float
    schedule: str
    momentum: float
    max_norm: float
    test_fraction: float
    seed: int
    dense: bool


@dataclass(frozen=True)
class Measurement:
    """A row of the history. ``train_loss``: the average since the one before."""

    step: int
    lr: float
    train_loss: float
    test_loss: float
    test_perplexity: float
    rows_per_second: float

    def __str__(self) -> str:
        return f"loss {self.train_loss:.3f}  held-out perplexity {self.test_perplexity:.1f}"


class Trainer:
    """One training run; ``checkpoints`` runs it, ``model.parameters`` are what it trains."""

    def __init__(self, settings: Settings, corpus: Corpus, rng: np.random.Generator) -> None:
        self.settings = settings
        self.corpus = corpus
        self.rng = rng
        self.frequencies = corpus.frequencies()
        parameters = initial_lm(
            self.frequencies, settings.context, settings.embedding, settings.hidden, rng
        )
        self.rows = min(settings.batch_size, len(corpus.train.positions))
        self.model = LanguageModel(parameters, self.rows, settings.context, self.new_head())
        self.optimiser = ss.SGD(
            list(parameters.values()),
            settings.lr,
            momentum=settings.momentum,
            max_norm=settings.max_norm,
        )
        self.rate = SCHEDULES[settings.schedule](settings.lr, settings.steps)
        positions = corpus.test.positions
        self.sample = np.sort(rng.permutation(positions)[:SAMPLE])
        self._order: Positions = np.empty(0, np.int64)
        self.history: list[Measurement] = []
        # Since the last checkpoint.
        self._loss_sum = self._seconds = 0.0

    def new_head(self) -> Head:
        """Return the head that the settings ask for."""
        if self.settings.dense:
            return DenseHead(self.rows, len(self.corpus.vocabulary))
        return FusedHead()

    def checkpoints(self, on_rows: Callable[[int], None]) -> Iterator[Measurement]:
        """Train on, telling ``on_rows`` the rows of each batch; yield at each checkpoint."""
        steps, parts = self.settings.steps, min(self.settings.checkpoints, self.settings.steps)
        for part in range(len(self.history) + 1, parts + 1):
            # Divergence is reported as such, not as NumPy's warnings.
            with np.errstate(over="ignore", invalid="ignore"):
                checkpoint = self._train_until(steps * part // parts, on_rows)
            if part == parts:
                self._judge(checkpoint)
            yield checkpoint

    def _train_until(self, last: int, on_rows: Callable[[int], None]) -> Measurement:
        for step in range(self.optimiser.steps, last):
            start = time.perf_counter()
            loss = self.model.loss_with_gradients(*self.batch(self.rows))
            if not math.isfinite(loss):
                raise self._diverged(loss, step + 1)
            self.optimiser.step(list(self.model.gradients.values()), lr=self.rate(step))
            self._loss_sum += loss
            self._seconds += time.perf_counter() - start
            on_rows(self.rows)
        steps = last - (self.history[-1].step if self.history else 0)
        at_the_end = last == self.settings.steps
        test_loss = self.test_loss(self.corpus.test.positions if at_the_end else self.sample)
        checkpoint = Measurement(
            step=last,
            lr=self.rate(last - 1),
            train_loss=self._loss_sum / steps,
            test_loss=test_loss,
            test_perplexity=perplexity(test_loss),
            rows_per_second=steps * self.rows / self._seconds,
        )
        self.history.append(checkpoint)
        self._loss_sum = self._seconds = 0.0
        return checkpoint

    def _judge(self, last: Measurement) -> None:
        """Raise if the model is worse, where it was trained, than one that knows nothing."""
        if not last.train_loss < math.log(len(self.frequencies)):
            raise self._diverged(last.train_loss, last.step)

    def _diverged(self, loss: float, step: int) -> Diverged:
        return Diverged(
            f"the training diverged: the loss is {loss:.4g} in step {step}, that of guessing is "
            f"{math.log(len(self.frequencies)):.4g}: try a smaller --lr than {self.settings.lr:g}"
        )

    def state(self) -> Arrays:
        """Return all that `restore` needs to go on from here with the same bits."""
        rng = self.rng.bit_generator.state
        position = {"loss_sum": self._loss_sum, "seconds": self._seconds, "rng": rng}
        optimiser = self.optimiser.state_dict()
        return {
            "position": np.array(json.dumps(position)),
            "order": self._order,
            "history": table_of(self.history, Measurement),
            **self.model.parameters,
            **{f"optimizer.{name}": np.asarray(value) for name, value in optimiser.items()},
        }

    def restore(self, arrays: Arrays) -> None:
        """Go to where `state` was called; ValueError or KeyError if ``arrays`` are not its."""
        optimiser = {
            name.removeprefix("optimizer."): value
            for name, value in arrays.items()
            if name.startswith("optimizer.")
        }
        self.optimiser.load_state_dict(optimiser)
        for name, values in self.model.parameters.items():
            np.copyto(values, array_of(arrays, name, values.dtype, values.shape))
        self.history = [
            Measurement(int(step), *rest) for step, *rest in rows_of(arrays, "history", Measurement)
        ]
        self._order = self._checked_order(array_of(arrays, "order", np.int64, (None,)))
        position = json_of(arrays, "position")
        self._loss_sum, self._seconds = position["loss_sum"], position["seconds"]
        self.rng.bit_generator.state = position["rng"]

    def _checked_order(self, order: Positions) -> Positions:
        if not np.isin(order, self.corpus.train.positions).all():
            raise ValueError("order: expected positions of words to train on")
        return order

    def batch(self, rows: int) -> tuple[Words, Positions]:
        """Return the next ``rows`` words to train on, shuffled anew when all have been used."""
        while len(self._order) < rows:
            more = self.rng.permutation(self.corpus.train.positions)
            self._order = np.concatenate([self._order, more])
        positions, self._order = np.split(self._order, [rows])
        return self.corpus.train.batch(positions)

    def test_loss(self, positions: Positions) -> float:
        """Return the mean loss of the held-out words at ``positions``."""
        return mean_loss(self.model, self.corpus.test, positions)

    def unigram_loss(self) -> float:
        """Return the mean loss of all held-out words by their frequencies in the training part."""
        part = self.corpus.test
        return float(-np.mean(np.log(self.frequencies[part.words[part.positions]])))


def mean_loss(model: LanguageModel, part: Part, positions: Positions) -> float:
    """Return the mean loss of the words of ``part`` at ``positions``."""
    total = sum(
        model.loss(*part.batch(positions[first : first + model.rows]))
        for first in range(0, len(positions), model.rows)
    )
    return total / len(positions)


def perplexity(loss: float) -> float:
    """Return exp(loss): among how many equally likely words the model would be as unsure."""
    # Beyond the range of float there is nothing to tell apart.
    return math.exp(min(loss, 700.0))
