"""Train the language model; its state at regular checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

import softstep as ss
from softstep.cli.data.corpus import Corpus, Part, Positions, Words
from softstep.cli.errors import RunError
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
class Checkpoint:
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
    """One training run; ``checkpoints`` runs it, ``model.parameters`` is its state."""

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

    def new_head(self) -> Head:
        """Return the head that the settings ask for."""
        if self.settings.dense:
            return DenseHead(self.rows, len(self.corpus.vocabulary))
        return FusedHead()

    def checkpoints(self, on_rows: Callable[[int], None]) -> Iterator[Checkpoint]:
        """Train, telling ``on_rows`` the rows of each batch; yield at each checkpoint."""
        steps, parts = self.settings.steps, min(self.settings.checkpoints, self.settings.steps)
        for part in range(1, parts + 1):
            # Divergence is reported as such, not as NumPy's warnings.
            with np.errstate(over="ignore", invalid="ignore"):
                checkpoint = self._train_until(steps * part // parts, on_rows)
            yield checkpoint

    def _train_until(self, last: int, on_rows: Callable[[int], None]) -> Checkpoint:
        first, loss_sum = self.optimiser.steps, 0.0
        start = time.perf_counter()
        for step in range(first, last):
            rate = self.rate(step)
            loss = self.model.loss_with_gradients(*self.batch(self.rows))
            if not math.isfinite(loss):
                raise RunError(
                    f"the training diverged: the loss is {loss} in step {step + 1}; "
                    f"expected a finite loss: try a smaller --lr than {self.settings.lr:g}"
                )
            self.optimiser.step(list(self.model.gradients.values()), lr=rate)
            loss_sum += loss
            on_rows(self.rows)
        seconds = time.perf_counter() - start
        at_the_end = last == self.settings.steps
        test_loss = self.test_loss(self.corpus.test.positions if at_the_end else self.sample)
        return Checkpoint(
            step=last,
            lr=rate,
            train_loss=loss_sum / (last - first),
            test_loss=test_loss,
            test_perplexity=perplexity(test_loss),
            rows_per_second=(last - first) * self.rows / seconds,
        )

    def batch(self, rows: int) -> tuple[Words, Positions]:
        """Return the next ``rows`` words to train on, shuffled anew when all have been used."""
        while len(self._order) < rows:
            more = self.rng.permutation(self.corpus.train.positions)
            self._order = np.concatenate([self._order, more])
        positions, self._order = np.split(self._order, [rows])
        return self.corpus.train.batch(positions)

    def test_loss(self, positions: Positions) -> float:
        """Return the mean loss of the held-out words at ``positions``."""
        return _mean_loss(self.model, self.corpus.test, positions)

    def unigram_loss(self) -> float:
        """Return the mean loss of all held-out words by their frequencies in the training part."""
        part = self.corpus.test
        return float(-np.mean(np.log(self.frequencies[part.words[part.positions]])))


def _mean_loss(model: LanguageModel, part: Part, positions: Positions) -> float:
    total = sum(
        model.loss(*part.batch(positions[first : first + model.rows]))
        for first in range(0, len(positions), model.rows)
    )
    return total / len(positions)


def perplexity(loss: float) -> float:
    """Return exp(loss): among how many equally likely words the model would be as unsure."""
    # Beyond the range of float there is nothing to tell apart.
    return math.exp(min(loss, 700.0))
