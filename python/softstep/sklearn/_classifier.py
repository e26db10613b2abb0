"""What the classifiers share: the conventions of scikit-learn around the training."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state, compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

import softstep as ss
import softstep._core as _core
from softstep._typing import FloatArray
from softstep.sklearn._fitting import fit_epoch, fit_epochs
from softstep.sklearn._options import check_options
from softstep.training.batches import Samples
from softstep.training.evaluation import logits_of
from softstep.training.step import Layers

DTYPES = (np.float64, np.float32)


class SoftmaxClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier whose logits come from dense layers; subclasses hold the parameters."""

    fit_intercept: Any = True

    def __init__(
        self,
        *,
        solver: str = "sgd",
        alpha: float = 1e-4,
        batch_size: int | str = "auto",
        learning_rate: str = "cosine",
        learning_rate_init: float | str = "auto",
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        label_smoothing: float = 0.0,
        max_iter: int = 50,
        shuffle: bool = True,
        tol: float = 1e-4,
        n_iter_no_change: int = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        class_weight: Any = None,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.label_smoothing = label_smoothing
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train on all of `X`, from the start or, with `warm_start`, from where it is.

        Parameters
        ----------
        X : array_like, shape (n, d)
            Dense features, float32 or float64 (other dtypes become float64), in which the training
            computes.
        y : array_like, shape (n,)
            Class labels of any kind.
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
        """
        check_options(self)
        _refuse_masked(X=X, y=y, sample_weight=sample_weight)
        warm = self.warm_start and hasattr(self, "classes_")
        X, y = validate_data(self, X, y, dtype=DTYPES, reset=not warm)
        check_classification_targets(y)
        classes, labels = np.unique(y, return_inverse=True)
        if warm and not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"y: expected the classes of the first fit, {self.classes_}, with warm_start=True, "
                f"got {classes}"
            )
        samples = self._samples(X, labels, classes, sample_weight)
        rng = self._generator()
        layers = self._copied(X.dtype) if warm else self._initial(X, len(classes), rng)
        fit_epochs(self, layers, samples, rng)
        return self._store(classes, layers)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Any:
        """Go over `X` once, from where the parameters and the optimizer are.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : array_like
            All classes that will ever come; needed in the first call.

        Returns
        -------
        The estimator.
        """
        check_options(self)
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight: 'balanced' needs all of y, which partial_fit does not see; pass the "
                "weights as a dict"
            )
        _refuse_masked(X=X, y=y, classes=classes, sample_weight=sample_weight)
        first = not hasattr(self, "classes_")
        X, y = validate_data(self, X, y, dtype=DTYPES, reset=first)
        check_classification_targets(y)
        if first:
            if classes is None:
                raise ValueError("classes: expected all classes in the first call to partial_fit")
            known = np.unique(classes)
        else:
            known = self.classes_
            if classes is not None and not np.array_equal(np.unique(classes), known):
                raise ValueError(f"classes: expected those of the first call, {known}")
        labels = np.searchsorted(known, y)
        strange = known[np.minimum(labels, len(known) - 1)] != y
        if np.any(strange):
            raise ValueError(f"y: expected classes in {known}, got {np.unique(y[strange])}")
        samples = self._samples(X, labels, known, sample_weight)
        rng = self._generator()
        layers = self._initial(X, len(known), rng) if first else self._copied(X.dtype)
        if not first:
            layers.lr = self.learning_rate_init_
            layers.losses = list(self.loss_curve_)
            if self._state[0] == self.solver:
                layers.state = self._state[1]
        fit_epoch(self, layers, samples, rng)
        return self._store(known, layers)

    def predict_proba(self, X: Any) -> FloatArray:
        """Return the probabilities of the classes, shape (n, C), in the order of `classes_`."""
        logits = self._logits(X)
        return ss.softmax(logits, out=logits)

    def predict_log_proba(self, X: Any) -> FloatArray:
        """Return the logarithms of the probabilities, finite where these underflow."""
        logits = self._logits(X)
        return ss.log_softmax(logits, out=logits)

    def predict(self, X: Any) -> Any:
        """Return the most probable class of each row."""
        logits = self._logits(X)
        return self.classes_[logits.argmax(axis=1)]

    def _logits(self, X: Any) -> FloatArray:
        check_is_fitted(self)
        _refuse_masked(X=X)
        weights, biases = self._parameters()
        X = validate_data(self, X, dtype=weights[0].dtype, reset=False)
        return logits_of(weights, biases, X)

    def _samples(self, X: FloatArray, labels: Any, classes: Any, sample_weight: Any) -> Samples:
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
        if self.class_weight is not None:
            per_class = compute_class_weight(self.class_weight, classes=classes, y=classes[labels])
            weights = per_class[labels] if weights is None else weights * per_class[labels]
        if weights is not None:  # only their ratios count, which fit into any dtype near 1
            weights = np.ldexp(weights, -np.frexp(weights.max())[1]).astype(X.dtype)
        rows = np.arange(len(labels)) if weights is None else np.flatnonzero(weights)
        if not len(rows):
            raise ValueError("sample_weight, class_weight: expected a weight above 0, got none")
        return Samples(X, labels, weights, rows)

    def _generator(self) -> np.random.Generator:
        state = check_random_state(self.random_state)
        return np.random.default_rng(state.randint(2**31 - 1))

    def _copied(self, dtype: Any) -> Layers:
        weights, biases = self._parameters()
        # In the layout that products are written in; coef_ of the linear model is transposed.
        rows = [weight.astype(dtype, order="C") for weight in weights]
        return Layers(rows, [bias.astype(dtype) for bias in biases])

    def _store(self, classes: Any, layers: Layers) -> Any:
        self.classes_ = classes
        self.learning_rate_init_ = layers.lr
        self.loss_curve_ = layers.losses
        self.validation_loss_curve_ = layers.validation_losses
        self.n_iter_ = len(layers.losses)
        self._state = (self.solver, layers.state)
        self._set_parameters(layers.weights, layers.biases)
        return self


def _refuse_masked(**arrays: Any) -> None:
    """scikit-learn would take what is masked for data."""
    for name, array in arrays.items():
        _core.refuse_masked(array, name)
