"""What a training is told, where it is, and what it reports."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from softstep.cli.classifier import defaults


@dataclass(frozen=True)
class Settings:
    """What a result depends on, besides the data; what is None is found from them."""

    epochs: int | None
    batch_size: int | None
    hidden: list[int]
    lr: float | None
    schedule: str
    weight_decay: float | None
    momentum: float
    label_smoothing: float
    test_fraction: float
    validation_fraction: float | None
    patience: int
    seed: int

    def held_out(self, rows: int) -> float:
        """Return the part of ``rows`` rows to stop by."""
        if self.validation_fraction is None:
            return defaults.validation_fraction(rows)
        return self.validation_fraction


@dataclass(frozen=True)
class Epoch:
    """A row of the history. ``data_loss``, ``train_accuracy``: averages while the epoch ran.

    ``validation_loss`` is NaN where no rows are held out to stop by.
    """

    epoch: int
    lr: float
    data_loss: float
    l2_penalty: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    validation_loss: float
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
    # The lowest loss of the rows to stop by, after which epoch, and the epochs since it fell.
    best: float = math.inf
    best_epoch: int = 0
    stalled: int = 0
