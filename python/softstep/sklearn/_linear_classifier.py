"""What linear classifiers share."""

from __future__ import annotations

from typing import Any

from softstep._typing import FloatArray
from softstep.sklearn._classifier import Classifier
from softstep.sklearn._parameters import OneLayer


class LinearClassifier(OneLayer, Classifier):
    """A classifier of one layer."""

    def decision_function(self, X: Any) -> FloatArray:
        """Return the scores, shape (n, C); for two classes the second's minus the first's, (n,)."""
        outputs = self._outputs(X)
        if outputs.shape[1] == 2:
            return outputs[:, 1] - outputs[:, 0]
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs
