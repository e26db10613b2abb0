"""A multi-layer perceptron that predicts numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from softstep.sklearn._options import Check, choice
from softstep.sklearn._parameters import ManyLayers
from softstep.sklearn._regressor import Regressor
from softstep.sklearn._settings import Settings
from softstep.sklearn._targets import Targets


class MLPRegressor(ManyLayers, Regressor):
    """Dense layers with an activation after each but the last, on the squared error.

    Minimizes the weighted mean of ``||z_i - y_i||**2 / 2`` plus the penalty, z being the last
    layer's output. Trained by mini-batches, or by L-BFGS on full ones.

    Parameters
    ----------
    loss : {"squared_error"}
        The loss.
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
    beta_1, beta_2, epsilon, max_iter, shuffle, n_iter_no_change, warm_start, random_state, verbose
        As in `SoftmaxRegression`.
    tol : float
        As in `SoftmaxRegression`; where the rate is found, a share of the variance of y.
    early_stopping, validation_fraction
        Hold out this share of the rows, and keep the parameters of the epoch with the lowest
        held-out loss.

    Attributes
    ----------
    coefs_, intercepts_, n_layers_
        As in `MLPClassifier`.
    out_activation_ : str
        "identity".
    loss_curve_, loss_, best_loss_, n_iter_, t_, n_outputs_, learning_rate_init_
        As in `SoftmaxRegression`.
    validation_loss_curve_, validation_scores_, best_validation_score_ : list of float, float
        Held-out loss and R**2 after each epoch, and the highest R**2.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Notes
    -----
    Where the rate is found, the training computes in standardised targets, too; the model, its
    losses and the penalty are of the targets as they are.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from softstep.sklearn import MLPRegressor
    >>> x, y = load_diabetes(return_X_y=True)
    >>> model = MLPRegressor(early_stopping=True, random_state=0).fit(x[:300], y[:300])
    >>> model.score(x[300:], y[300:]) > 0.4
    True
    """

    def __init__(
        self,
        loss: str = "squared_error",
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
    ) -> None:
        self.loss = loss
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

    _checks: dict[str, Check] = {"loss": choice("squared_error")}  # noqa: RUF012
    # Several numbers a row.
    _target_checks = {"y_numeric": True, "multi_output": True}  # noqa: RUF012

    def _settings(self, targets: Targets) -> Settings:
        return replace(super()._settings(targets), alpha_by_rows=True)
