"""scikit-learn's names for linear models by stochastic gradient descent."""

from __future__ import annotations

import math
from typing import Any

from softstep.sklearn._classifier import IncrementalClassifier
from softstep.sklearn._linear_classifier import LinearClassifier
from softstep.sklearn._options import Check, choice, number
from softstep.sklearn._parameters import OneLayer
from softstep.sklearn._regressor import Regressor
from softstep.sklearn._settings import Settings
from softstep.sklearn._targets import Targets

COMMON: dict[str, Check] = {
    "penalty": choice("l2", None),
    "learning_rate": choice("optimal", "constant", "invscaling", "adaptive"),
    "tol": number(0, also=(None,)),
    "average": choice(False),
}


def _settings(model: Any, targets: Targets, alpha: float) -> Settings:
    found = model.learning_rate == "optimal"
    return Settings(
        model._loss(targets),  # noqa: SLF001
        classes=targets.classes,
        alpha=0.0 if model.penalty is None else alpha,
        fit_intercept=model.fit_intercept,
        batch_size=model.batch_size,
        learning_rate="cosine" if found else model.learning_rate,
        learning_rate_init="auto" if found else model.eta0,
        power_t=model.power_t,
        momentum=model.momentum,
        max_iter=model.max_iter,
        shuffle=model.shuffle,
        tol=-math.inf if model.tol is None else model.tol,
        n_iter_no_change=model.n_iter_no_change,
        early_stopping=model.early_stopping,
        validation_fraction=model.validation_fraction,
        verbose=bool(model.verbose),
    )


class SGDClassifier(LinearClassifier, IncrementalClassifier):
    """A linear classifier on the hinge or the cross-entropy, with scikit-learn's parameters.

    Minimizes the weighted mean of the loss of the scores ``z_i = W x_i + b`` plus
    ``alpha / 2 ||W||**2`` by mini-batches with momentum. Many classes are one problem: of
    Crammer-Singer's hinge, or of one softmax. `SoftmaxRegression` has more options for the latter.

    Parameters
    ----------
    loss : {"hinge", "log_loss"}
        A linear support vector machine, or logistic regression.
    penalty : {"l2", None}
        None is an `alpha` of 0.
    alpha : float
        Strength of the penalty, at least 0. Two classes have one weight vector.
    l1_ratio, epsilon, n_jobs
        Without effect.
    fit_intercept : bool
        Whether to have b.
    max_iter : int
        Epochs.
    tol, n_iter_no_change
        The loss stalls when it has not fallen below its lowest by more than `tol` in this many
        epochs in a row; never with None.
    shuffle : bool
        Take the rows in a new order in each epoch.
    verbose : int
        Above 0: show the progress on stderr.
    random_state : int, RandomState or None
        Decides the order of the rows.
    learning_rate : {"optimal", "constant", "invscaling", "adaptive"}
        "optimal" finds the rate, as "cosine" and "auto" of `SoftmaxRegression` do. "constant"
        stays at `eta0`; "invscaling" divides by ``(1 + t)**power_t`` after t rows; "adaptive"
        divides by 5 each time that the loss stalls, until 1e-6.
    eta0 : float or "auto"
        The first rate of the others; "auto" finds it, too.
    power_t : float
        Of "invscaling".
    early_stopping, validation_fraction, class_weight, warm_start
        As in `SoftmaxRegression`.
    average : False
        Averaged weights are not there: a rate that falls to 0 makes up for them.
    batch_size, momentum
        As in `SoftmaxRegression`.

    Attributes
    ----------
    coef_, intercept_, classes_, loss_curve_, loss_, best_loss_, n_iter_, t_, learning_rate_init_
        As in `SoftmaxRegression`.
    validation_loss_curve_, validation_scores_, best_validation_score_
        As in `SoftmaxRegression`.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from softstep.sklearn import SGDClassifier
    >>> x, y = load_breast_cancer(return_X_y=True)
    >>> SGDClassifier(random_state=0).fit(x[:400], y[:400]).score(x[400:], y[400:]) > 0.95
    True
    """

    _least_classes = 2
    _checks = COMMON | {"loss": choice("hinge", "log_loss")}

    def __init__(
        self,
        loss: str = "hinge",
        *,
        penalty: str | None = "l2",
        alpha: float = 1e-4,
        l1_ratio: float = 0.15,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        shuffle: bool = True,
        verbose: int = 0,
        epsilon: float = 0.1,
        n_jobs: Any = None,
        random_state: Any = None,
        learning_rate: str = "optimal",
        eta0: float | str = "auto",
        power_t: float = 0.5,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        class_weight: Any = None,
        warm_start: bool = False,
        average: bool = False,
        batch_size: int | str = "auto",
        momentum: float = 0.9,
    ) -> None:
        self.loss = loss
        self.penalty = penalty
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.shuffle = shuffle
        self.verbose = verbose
        self.epsilon = epsilon
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.learning_rate = learning_rate
        self.eta0 = eta0
        self.power_t = power_t
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.average = average
        self.batch_size = batch_size
        self.momentum = momentum

    def _settings(self, targets: Targets) -> Settings:
        # The softmax of two classes has a vector each within the training.
        return _settings(self, targets, self.alpha * (2 if targets.outputs == 2 else 1))


class SGDRegressor(OneLayer, Regressor):
    """A linear regressor on the squared error, with scikit-learn's parameters.

    Minimizes the weighted mean of ``(z_i - y_i)**2 / 2``, ``z_i = w x_i + b``, plus
    ``alpha / 2 ||w||**2`` by mini-batches with momentum.

    Parameters
    ----------
    loss : {"squared_error"}
        The loss.
    penalty, alpha, l1_ratio, fit_intercept, max_iter, tol, n_iter_no_change, shuffle, verbose
        As in `SGDClassifier`; where the rate is found, `tol` is a share of the variance of y.
    epsilon, random_state, learning_rate, eta0, power_t, validation_fraction, warm_start, average
        As in `SGDClassifier`.
    early_stopping : bool
        Hold out `validation_fraction` of the rows, and keep the parameters of the epoch with the
        lowest held-out loss.
    batch_size, momentum
        As in `SoftmaxRegression`.

    Attributes
    ----------
    coef_ : ndarray
        Shape (d,).
    intercept_ : ndarray
        Shape (1,).
    loss_curve_, loss_, best_loss_, n_iter_, t_, learning_rate_init_, validation_loss_curve_
        As in `SoftmaxRegression`.
    validation_scores_, best_validation_score_
        R**2 of the held-out rows after each epoch, and the highest.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from softstep.sklearn import SGDRegressor
    >>> x, y = load_diabetes(return_X_y=True)
    >>> SGDRegressor(random_state=0).fit(x, y).score(x, y) > 0.5
    True
    """

    _checks = COMMON | {"loss": choice("squared_error")}

    def __init__(
        self,
        loss: str = "squared_error",
        *,
        penalty: str | None = "l2",
        alpha: float = 1e-4,
        l1_ratio: float = 0.15,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        shuffle: bool = True,
        verbose: int = 0,
        epsilon: float = 0.1,
        random_state: Any = None,
        learning_rate: str = "optimal",
        eta0: float | str = "auto",
        power_t: float = 0.25,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        warm_start: bool = False,
        average: bool = False,
        batch_size: int | str = "auto",
        momentum: float = 0.9,
    ) -> None:
        self.loss = loss
        self.penalty = penalty
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.shuffle = shuffle
        self.verbose = verbose
        self.epsilon = epsilon
        self.random_state = random_state
        self.learning_rate = learning_rate
        self.eta0 = eta0
        self.power_t = power_t
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.average = average
        self.batch_size = batch_size
        self.momentum = momentum

    def _settings(self, targets: Targets) -> Settings:
        return _settings(self, targets, self.alpha)

    def _set_parameters(self, weights: Any, biases: Any) -> None:
        super()._set_parameters(weights, biases)
        self.coef_ = self.coef_[0]
