"""A multi-layer perceptron."""

from __future__ import annotations

from typing import Any

import numpy as np

from softstep._typing import FloatArray
from softstep.sklearn._classifier import SoftmaxClassifier
from softstep.sklearn._options import hidden_sizes
from softstep.training.network import initial_parameters
from softstep.training.step import Layers


class MLPClassifier(SoftmaxClassifier):
    """Dense layers with a ReLU after each but the last, trained by mini-batches.

    The loss is that of `SoftmaxRegression`, z being the last layer's output; the penalty is on the
    weights of all layers.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int
        Units of each hidden layer.
    solver, alpha, batch_size, learning_rate, learning_rate_init, momentum, nesterovs_momentum
        As in `SoftmaxRegression`.
    beta_1, beta_2, epsilon, label_smoothing, max_iter, shuffle, tol, n_iter_no_change
        As in `SoftmaxRegression`.
    early_stopping, validation_fraction, class_weight, warm_start, random_state, verbose
        As in `SoftmaxRegression`.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        Of each layer, shapes (inputs, outputs) and (outputs,).
    classes_, loss_curve_, validation_loss_curve_, n_iter_, learning_rate_init_
        As in `SoftmaxRegression`.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Notes
    -----
    Initial weights of hidden layers are normal of variance ``1 / inputs``; the last layer's are 0,
    so that training begins with equal probabilities. Biases are 0.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from softstep.sklearn import MLPClassifier
    >>> x, y = load_digits(return_X_y=True)
    >>> x_train, x_test, y_train, y_test = train_test_split(x / 16, y, random_state=0)
    >>> model = MLPClassifier(random_state=0).fit(x_train, y_train)
    >>> model.score(x_test, y_test) > 0.96
    True
    """

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
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
        self.hidden_layer_sizes = hidden_layer_sizes

    def _initial(self, X: FloatArray, classes: int, rng: np.random.Generator) -> Layers:
        sizes = [X.shape[1], *hidden_sizes(self.hidden_layer_sizes), classes]
        return Layers(*initial_parameters(sizes, rng, X.dtype))

    def _parameters(self) -> tuple[list[FloatArray], list[FloatArray]]:
        return self.coefs_, self.intercepts_

    def _set_parameters(self, weights: list[FloatArray], biases: list[FloatArray]) -> None:
        self.coefs_, self.intercepts_ = weights, biases
