"""A multi-layer perceptron that classifies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from softstep.sklearn._classifier import IncrementalClassifier
from softstep.sklearn._parameters import ManyLayers
from softstep.sklearn._settings import Settings
from softstep.sklearn._targets import Targets


class MLPClassifier(ManyLayers, IncrementalClassifier):
    """Dense layers with an activation after each but the last, on the cross-entropy.

    The loss is that of `SoftmaxRegression`, z being the last layer's output. Trained by
    mini-batches, or by L-BFGS on full ones.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int
        Units of each hidden layer.
    activation : {"relu", "tanh", "logistic", "identity"}
        What follows each hidden layer.
    solver : {"sgd", "adam", "adamw", "lbfgs"}
        As in `SoftmaxRegression`.
    alpha : float
        Strength of the penalty on the weights of all layers, divided by the rows of a step (all
        rows with "lbfgs"), as scikit-learn has it.
    max_fun : int
        Evaluations of the loss by "lbfgs".
    batch_size, learning_rate, learning_rate_init, power_t, momentum, nesterovs_momentum
        As in `SoftmaxRegression`.
    beta_1, beta_2, epsilon, label_smoothing, max_iter, shuffle, tol, n_iter_no_change
        As in `SoftmaxRegression`.
    early_stopping, validation_fraction, class_weight, warm_start, random_state, verbose
        As in `SoftmaxRegression`.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        Of each layer, shapes (inputs, outputs) and (outputs,).
    n_layers_ : int
        Layers, the input among them.
    out_activation_ : str
        "softmax".
    classes_, loss_curve_, loss_, best_loss_, n_iter_, t_, n_outputs_, learning_rate_init_
        As in `SoftmaxRegression`.
    validation_loss_curve_, validation_scores_, best_validation_score_
        As in `SoftmaxRegression`.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Notes
    -----
    Initial weights of hidden layers are normal of variance ``1 / inputs``, for features that are
    standardised if the rate is found; the last layer's are 0, so that training begins with equal
    probabilities. Biases are 0.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from softstep.sklearn import MLPClassifier
    >>> x, y = load_digits(return_X_y=True)
    >>> x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=0)
    >>> model = MLPClassifier(random_state=0).fit(x_train, y_train)
    >>> model.score(x_test, y_test) > 0.96
    True
    """

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "sgd",
        alpha: float = 1e-4,
        batch_size: int | str = "auto",
        learning_rate: str = "cosine",
        learning_rate_init: float | str = "auto",
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int = 10,
        max_fun: int = 15_000,
        label_smoothing: float = 0.0,
        class_weight: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight

    def _settings(self, targets: Targets) -> Settings:
        return replace(super()._settings(targets), alpha_by_rows=True)
