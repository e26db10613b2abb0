"""Rows of a table, and the memory of a batch of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep._typing import FloatArray


@dataclass(frozen=True)
class Samples:
    """Rows of a table with their labels and weights; ``rows`` are those that take part."""

    features: FloatArray
    labels: Any
    weights: FloatArray | None
    rows: Any

    @property
    def total(self) -> float:
        """The sum of the weights."""
        if self.weights is None:
            return float(len(self.rows))
        return float(self.weights[self.rows].sum(dtype=np.float64))


@dataclass
class Batch:
    """Memory of one batch, which `take` fills."""

    features: FloatArray
    labels: Any
    weights: FloatArray | None

    @classmethod
    def of(cls, samples: Samples, rows: int) -> "Batch":
        """Allocate ``rows`` rows."""
        features = np.empty((rows, samples.features.shape[1]), samples.features.dtype)
        weights = None if samples.weights is None else np.empty(rows, samples.weights.dtype)
        return cls(features, np.empty(rows, samples.labels.dtype), weights)

    def take(self, samples: Samples, rows: Any) -> tuple[FloatArray, Any, FloatArray | None]:
        """Return views of the rows' features, labels and weights."""
        n = len(rows)
        # mode="raise" would go through a temporary copy.
        np.take(samples.features, rows, axis=0, out=self.features[:n], mode="clip")
        np.take(samples.labels, rows, out=self.labels[:n], mode="clip")
        if self.weights is None or samples.weights is None:
            return self.features[:n], self.labels[:n], None
        np.take(samples.weights, rows, out=self.weights[:n], mode="clip")
        return self.features[:n], self.labels[:n], self.weights[:n]
