"""What the estimators share: the conventions of scikit-learn around the training."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

import softstep._core as _core
from softstep._typing import FloatArray
from softstep.sklearn._fitting import batch_size_of, fit_epoch, fit_epochs
from softstep.sklearn._lbfgs import fit_lbfgs
from softstep.sklearn._options import Check, check_options
from softstep.sklearn._settings import Settings
from softstep.sklearn._targets import Targets
from softstep.training.batches import Samples
from softstep.training.evaluation import logits_of
from softstep.training.step import Layers

DTYPES = (np.float64, np.float32)


class NetworkEstimator(BaseEstimator):  # type: ignore[misc]
    """Dense layers trained on a loss; subclasses say on which, and hold the parameters.

    They have `_encoded` (of `y`), `_loss`, `_initial`, `_parameters` and `_set_parameters`.
    """

    # Of parameters that no other estimator has so.
    _checks: dict[str, Check] = {}  # noqa: RUF012
    # What `y` may be, for scikit-learn's check.
    _target_checks: dict[str, Any] = {}  # noqa: RUF012

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = self._target_checks.get("multi_output", False)
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train on all of `X`, from the start or, with `warm_start`, from where it is.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n, d)
            Features, float32 or float64 (other dtypes become float64), in which the training
            computes. A sparse matrix is used as CSR, and never made dense.
        y : array_like, shape (n,)
            Class labels of any kind, or numbers; for `MLPRegressor` also several a row, (n, k).
        sample_weight : array_like, optional
            Weight of each row, at least 0.

        Returns
        -------
        The estimator.

        Raises
        ------
        TypeError, ValueError
            For data or parameters that do not fit, and for a training that diverges. The model is
            as before then.

        Warns
        -----
        ConvergenceWarning
            If the loss had not stalled by `max_iter`.
        """
        warm = bool(self.warm_start) and hasattr(self, "loss_curve_")
        X, y = self._checked(X, y, reset=not warm, sample_weight=sample_weight)
        targets = self._encoded(y, X.dtype, warm)
        settings = self._settings(targets)
        weights, total = self._weights(X, targets, sample_weight)
        if settings.finds_coordinates:
            targets = targets.scaled(weights, settings.fit_intercept)
        samples = _samples(X, targets, weights)
        rng = self._generator()
        layers = self._copied(X.dtype) if warm else self._initial(X, targets.outputs, rng)
        if not layers.new:
            targets.enter(layers)
        alphas = _alphas(settings, layers, samples, total, targets.spread)
        if settings.solver == "lbfgs":
            fit_lbfgs(settings, layers, samples, alphas)
        else:
            fit_epochs(settings, layers, samples, alphas, rng)
        return self._store(settings, targets, layers, warm)

    def _go_over(self, X: Any, y: Any, sample_weight: Any, first: bool, encode: Any) -> Any:
        """Train on `X` once, from where parameters and optimizer are."""
        X, y = self._checked(X, y, reset=first, sample_weight=sample_weight)
        if self.early_stopping:
            raise ValueError(
                "early_stopping: partial_fit does not support early_stopping=True: expected False"
            )
        targets = encode(y, X.dtype)
        settings = self._settings(targets)
        weights, total = self._weights(X, targets, sample_weight)
        if not first:
            targets = targets.placed(*self._placed) if targets.classes is None else targets
        elif settings.finds_coordinates:
            targets = targets.scaled(weights, settings.fit_intercept)
        samples = _samples(X, targets, weights)
        rng = self._generator()
        layers = (
            self._initial(X, targets.outputs, rng) if first else self._resumed(settings, samples)
        )
        if not layers.new:
            targets.enter(layers)
        alphas = _alphas(settings, layers, samples, total, targets.spread)
        fit_epoch(settings, layers, samples, alphas, rng)
        return self._store(settings, targets, layers, going_on=not first)

    def _checked(self, X: Any, y: Any, *, reset: bool, **arrays: Any) -> tuple[Any, Any]:
        check_options(self.get_params(deep=False), self._checks)
        _refuse_masked(X=X, y=y, **arrays)
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            dtype=DTYPES,
            reset=reset,
            **self._target_checks,
        )
        return X, y

    def _outputs(self, X: Any) -> FloatArray:
        """Return what the last layer gives, (n, C)."""
        check_is_fitted(self)
        _refuse_masked(X=X)
        weights, biases = self._parameters()
        X = validate_data(self, X, accept_sparse="csr", dtype=weights[0].dtype, reset=False)
        return logits_of(weights, biases, X, getattr(self, "activation", "relu"))

    def _settings(self, targets: Targets) -> Settings:
        """Return how to train; a subclass with other names of parameters says which they are."""
        named = {f.name: getattr(self, f.name) for f in fields(Settings) if hasattr(self, f.name)}
        more = {"loss": self._loss(targets), "classes": targets.classes}
        return Settings(**{**named, **more})

    def _weights(self, X: Any, targets: Targets, sample_weight: Any) -> tuple[Any, float]:
        """Return each row's weight, or None, and their sum."""
        weights = self._class_weights(targets)
        if sample_weight is not None:
            given = _check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
            with np.errstate(over="ignore"):  # which is told below
                weights = given if weights is None else weights * given
        if weights is None:
            return None, float(X.shape[0])
        if not np.any(weights):
            raise ValueError("sample_weight, class_weight: expected a weight above 0, got none")
        if not np.all(np.isfinite(weights)):
            raise ValueError("sample_weight, class_weight: expected finite products, got inf")
        # Only their ratios count, which fit into any dtype near 1.
        exponent = np.frexp(weights.max())[1]
        near = np.ldexp(weights, -exponent)
        return near.astype(X.dtype), float(np.ldexp(near.sum(), exponent))

    def _class_weights(self, targets: Targets) -> Any:
        return None

    def _generator(self) -> np.random.Generator:
        state = check_random_state(self.random_state)
        return np.random.default_rng(state.randint(2**31 - 1))

    def _copied(self, dtype: Any) -> Layers:
        weights, biases = self._parameters()
        # In the layout that products are written in; coef_ of a linear model is transposed.
        rows = [weight.astype(dtype, order="C") for weight in weights]
        return Layers(rows, [bias.astype(dtype) for bias in biases], seen=self.t_)

    def _resumed(self, settings: Settings, samples: Samples) -> Layers:
        """Return copies of the layers in the coordinates of the optimizer's state."""
        layers = self._copied(samples.features.dtype)
        layers.epochs = self.n_iter_
        if samples.sparse and self._scaling is not None:  # which would make it dense
            return layers
        layers.lr, layers.scaling = self.learning_rate_init_, self._scaling
        if layers.scaling is not None:
            layers.scaling.enter(layers.weights[0], layers.biases[0])
        if self._state[0] == settings.solver:
            layers.state = self._state[1]
        return layers

    def _store(self, settings: Settings, targets: Targets, layers: Layers, going_on: bool) -> Any:
        """Take the layers over, with what was seen of the training."""
        if layers.scaling is not None:
            layers.scaling.leave(layers.weights[0], layers.biases[0])
        targets.leave(layers)
        watched = bool(layers.validation_losses)
        curves = {
            "loss_curve_": layers.losses,
            "validation_loss_curve_": layers.validation_losses if watched else None,
            "validation_scores_": layers.validation_scores if watched else None,
        }
        for name, values in curves.items():
            before = getattr(self, name, None) if going_on else None
            setattr(self, name, values if before is None or values is None else before + values)
        self.loss_ = self.loss_curve_[-1] if self.loss_curve_ else np.nan
        self.best_loss_ = min(self.loss_curve_, default=None) if not watched else None
        scores = self.validation_scores_
        self.best_validation_score_ = max(scores) if scores else None
        self.learning_rate_init_ = layers.lr
        self.n_outputs_ = targets.outputs
        self.t_ = layers.seen
        self._placed = targets.mean, targets.spread
        self._scaling = layers.scaling
        self._state = (settings.solver, layers.state)
        if targets.classes is not None:
            self.classes_ = targets.classes
        self._set_iterations(layers.epochs)
        self._set_parameters(layers.weights, layers.biases)
        return self

    def _set_iterations(self, count: int) -> None:
        self.n_iter_: Any = count


def _samples(X: Any, targets: Targets, weights: Any) -> Samples:
    rows = np.arange(X.shape[0]) if weights is None else np.flatnonzero(weights)
    return Samples(X, targets.values, weights, rows)


def _alphas(
    settings: Settings, layers: Layers, samples: Samples, total: float, spread: float
) -> list[float]:
    """Return the penalty of each layer beside the mean loss, in units of scaled targets."""
    alpha = settings.alpha
    if settings.alpha_by_rows:
        share = 1.0
        if settings.solver != "lbfgs":
            share = batch_size_of(settings, samples) / len(samples.rows)
        alpha /= total * share
    # The last layer is in these units itself.
    return [alpha / spread**2] * (len(layers.weights) - 1) + [alpha]


def _refuse_masked(**arrays: Any) -> None:
    """scikit-learn would take what is masked for data."""
    for name, array in arrays.items():
        _core.refuse_masked(array, name)
