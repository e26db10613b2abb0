"""Regressors: numbers on the squared error."""

from __future__ import annotations

from functools import partial
from typing import Any

from sklearn.base import RegressorMixin
from sklearn.utils.metaestimators import available_if

from softstep.sklearn._classifier import is_incremental
from softstep.sklearn._estimator import NetworkEstimator
from softstep.sklearn._targets import Targets
from softstep.training.losses import HALF_SQUARED_ERROR, Loss


class Regressor(RegressorMixin, NetworkEstimator):  # type: ignore[misc]
    """Predicts numbers."""

    _target_checks = {"y_numeric": True}  # noqa: RUF012

    def predict(self, X: Any) -> Any:
        """Return the numbers of each row, shape (n,), or (n, k) for several a row."""
        outputs = self._outputs(X)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    @available_if(is_incremental)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Go over `X` once, from where the parameters and the optimizer are.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        The estimator.
        """
        first = not hasattr(self, "loss_curve_")
        return self._go_over(X, y, sample_weight, first, partial(self._encoded, warm=not first))

    def _encoded(self, y: Any, dtype: Any, warm: bool) -> Targets:
        values = y.astype(dtype).reshape(len(y), -1)
        if warm and values.shape[1] != self.n_outputs_:
            raise ValueError(
                f"y: expected shape {(len(y), self.n_outputs_)}, as many numbers a row as in the "
                f"previous call, got {y.shape}"
            )
        return Targets(values, values.shape[1])

    def _loss(self, targets: Targets) -> Loss:
        return HALF_SQUARED_ERROR
