"""Rows of a table, and the memory of a batch of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep._typing import FloatArray


@dataclass(frozen=True)
class Samples:
    """Rows of a table with their targets and weights; ``rows`` are those that take part.

    ``features`` is an array or one of SciPy's CSR matrices, ``labels`` are class indices, (n,), or
    numbers, (n, C).
    """

    features: Any
    labels: Any
    weights: FloatArray | None
    rows: Any

    @property
    def total(self) -> float:
        """The sum of the weights."""
        if self.weights is None:
            return float(len(self.rows))
        return float(self.weights[self.rows].sum(dtype=np.float64))

    @property
    def sparse(self) -> bool:
        """Whether the features are a sparse matrix."""
        return not isinstance(self.features, np.ndarray)


@dataclass
class Batch:
    """Memory of one batch, which `take` fills; a batch of a sparse matrix has its own."""

    features: FloatArray | None
    labels: Any
    weights: FloatArray | None

    @classmethod
    def of(cls, samples: Samples, rows: int) -> "Batch":
        """Allocate ``rows`` rows."""
        features, labels, weights = samples.features, samples.labels, samples.weights
        return cls(
            None if samples.sparse else np.empty((rows, features.shape[1]), features.dtype),
            np.empty((rows, *labels.shape[1:]), labels.dtype),
            None if weights is None else np.empty(rows, weights.dtype),
        )

    def take(self, samples: Samples, rows: Any) -> tuple[Any, Any, FloatArray | None]:
        """Return views of the rows' features, labels and weights."""
        n = len(rows)
        if self.features is None:
            features = samples.features[rows]
        else:
            # mode="raise" would go through a temporary copy.
            features = self.features[:n]
            np.take(samples.features, rows, axis=0, out=features, mode="clip")
        np.take(samples.labels, rows, axis=0, out=self.labels[:n], mode="clip")
        if self.weights is None or samples.weights is None:
            return features, self.labels[:n], None
        np.take(samples.weights, rows, out=self.weights[:n], mode="clip")
        return features, self.labels[:n], self.weights[:n]
