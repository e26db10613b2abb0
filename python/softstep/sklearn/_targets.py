"""What outputs are trained on, and what numbers they stand for."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from softstep.training.step import Layers


@dataclass(frozen=True)
class Targets:
    """Values as a loss takes them: class indices, -1 and +1, or numbers (y - mean) / spread."""

    values: Any
    outputs: int
    # Of a classifier: its classes, and the class index of each row.
    classes: Any = None
    labels: Any = None
    mean: Any = 0.0
    spread: float = 1.0

    def scaled(self, weights: Any, centered: bool) -> Targets:
        """Return numbers of mean 0 and standard deviation 1, so that a rate fits any; not classes.

        One deviation for all columns keeps the loss the same, up to a factor; without an intercept
        the mean stays as it is.
        """
        if self.classes is not None:
            return self
        mean = np.average(self.values, axis=0, weights=weights) if centered else 0.0
        square = np.average(np.mean((self.values - mean) ** 2, axis=1), weights=weights)
        return self.placed(mean, math.sqrt(square) or 1.0)

    def placed(self, mean: Any, spread: float) -> Targets:
        """Return the numbers in units of an earlier fit."""
        values = ((self.values - mean) / spread).astype(self.values.dtype)
        return replace(self, values=values, mean=mean, spread=spread)

    def enter(self, layers: Layers) -> None:
        """Let the last layer give values instead of what they stand for."""
        layers.weights[-1] /= self.spread
        layers.biases[-1] -= self.mean
        layers.biases[-1] /= self.spread

    def leave(self, layers: Layers) -> None:
        """Let the last layer give what the values stand for, and the losses be of it."""
        layers.weights[-1] *= self.spread
        layers.biases[-1] *= self.spread
        layers.biases[-1] += self.mean
        for losses in (layers.losses, layers.validation_losses):
            losses[:] = [loss * self.spread**2 for loss in losses]
