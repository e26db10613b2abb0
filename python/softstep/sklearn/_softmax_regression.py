"""Multinomial logistic regression."""

from __future__ import annotations

from typing import Any

import numpy as np

from softstep._typing import FloatArray
from softstep.sklearn._classifier import SoftmaxClassifier
from softstep.training.step import Layers


class SoftmaxRegression(SoftmaxClassifier):
    r"""Multinomial logistic regression, trained by mini-batches.

    Minimizes the weighted mean over the samples, plus a penalty on the weights,

    ``sum_i w_i (logsumexp(z_i) - z_i[y_i]) / sum_i w_i + alpha / 2 ||W||**2``, ``z_i = W x_i + b``.

    Parameters
    ----------
    fit_intercept : bool
        Whether to have b.
    solver : {"sgd", "adamw"}
        Gradient descent with momentum, or AdamW, where `alpha` is its decoupled weight decay.
    alpha : float
        Strength of the penalty, at least 0. With n samples, ``C = 1 / (alpha n)`` in
        ``sklearn.linear_model.LogisticRegression``; two classes have a weight vector each here,
        so that it is ``C = 2 / (alpha n)`` for them.
    batch_size : int or "auto"
        Rows of a step; "auto" is 128. All rows if there are fewer.
    learning_rate : {"cosine", "constant"}
        The rate falls to 0 by `max_iter` epochs, or stays.
    learning_rate_init : float or "auto"
        The first rate. "auto": from the second moments of the features for "sgd", 0.001 for
        "adamw".
    momentum, nesterovs_momentum
        Of "sgd".
    beta_1, beta_2, epsilon
        Of "adamw".
    label_smoothing : float
        Share of each target that is spread over all classes.
    max_iter : int
        Epochs.
    shuffle : bool
        Take the rows in a new order in each epoch.
    tol, n_iter_no_change
        Stop when the watched loss has not fallen below its lowest by more than `tol` in this many
        epochs in a row. The watched loss is that of the training or, with `early_stopping`, of the
        held-out rows.
    early_stopping : bool
        Hold out `validation_fraction` of each class, and keep the parameters of the epoch with the
        lowest held-out loss.
    validation_fraction : float
        In (0, 1).
    class_weight : dict or "balanced", optional
        Factors of the sample weights: by class, or inverse to the frequency of the class.
    warm_start : bool
        `fit` begins with the parameters of the last one.
    random_state : int, RandomState or None
        Decides the order of the rows and the initial weights.
    verbose : bool
        Show the progress on stderr: a bar (tqdm) on a terminal, otherwise a line per epoch.

    Attributes
    ----------
    coef_ : ndarray
        Shape (C, d); for two classes (1, d), of the difference of their logits.
    intercept_ : ndarray
        Shape (C,) or (1,).
    classes_ : ndarray
        The labels, sorted.
    loss_curve_ : list of float
        Mean training loss while each epoch ran, plus the penalty at its end.
    validation_loss_curve_ : list of float
        Held-out loss after each epoch, with `early_stopping`.
    n_iter_ : int
        Epochs done.
    learning_rate_init_ : float
        The first rate.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from softstep.sklearn import SoftmaxRegression
    >>> x, y = load_digits(return_X_y=True)
    >>> x_train, x_test, y_train, y_test = train_test_split(x / 16, y, random_state=0)
    >>> model = SoftmaxRegression(random_state=0).fit(x_train, y_train)
    >>> model.score(x_test, y_test) > 0.94
    True
    """

    def __init__(
        self,
        *,
        fit_intercept: bool = True,
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
        super().__init__(
            solver=solver,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            momentum=momentum,
            nesterovs_momentum=nesterovs_momentum,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            label_smoothing=label_smoothing,
            max_iter=max_iter,
            shuffle=shuffle,
            tol=tol,
            n_iter_no_change=n_iter_no_change,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            class_weight=class_weight,
            warm_start=warm_start,
            random_state=random_state,
            verbose=verbose,
        )
        self.fit_intercept = fit_intercept

    def decision_function(self, X: Any) -> FloatArray:
        """Return the logits, shape (n, C); for two classes the second's minus the first's, (n,)."""
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def _initial(self, X: FloatArray, classes: int, rng: np.random.Generator) -> Layers:
        return Layers([np.zeros((X.shape[1], classes), X.dtype)], [np.zeros(classes, X.dtype)])

    def _parameters(self) -> tuple[list[FloatArray], list[FloatArray]]:
        weight, bias = self.coef_.T, self.intercept_
        if len(self.classes_) == 2:
            # Both classes started at 0 and their gradients are opposite: so are their weights.
            weight, bias = (np.concatenate([-a / 2, a / 2], axis=-1) for a in (weight, bias))
        return [weight], [bias]

    def _set_parameters(self, weights: list[FloatArray], biases: list[FloatArray]) -> None:
        weight, bias = weights[0], biases[0]
        if len(self.classes_) == 2:
            weight, bias = weight[:, 1:] - weight[:, :1], bias[1:] - bias[:1]
        self.coef_, self.intercept_ = np.ascontiguousarray(weight.T), bias
