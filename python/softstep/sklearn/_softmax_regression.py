"""Multinomial logistic regression by mini-batches."""

from __future__ import annotations

from typing import Any

from softstep.sklearn._classifier import IncrementalClassifier
from softstep.sklearn._linear_classifier import LinearClassifier


class SoftmaxRegression(LinearClassifier, IncrementalClassifier):
    r"""Multinomial logistic regression, trained by mini-batches.

    Minimizes the weighted mean over the samples, plus a penalty on the weights,

    ``sum_i w_i (logsumexp(z_i) - z_i[y_i]) / sum_i w_i + alpha / 2 ||W||**2``, ``z_i = W x_i + b``.

    `LogisticRegression` has scikit-learn's parameters and goes to the optimum; `SGDClassifier` has
    the hinge, too.

    Parameters
    ----------
    fit_intercept : bool
        Whether to have b.
    solver : {"sgd", "adam", "adamw", "lbfgs"}
        Gradient descent with momentum; Adam; AdamW, where `alpha` is its decoupled weight decay;
        or full batches by SciPy's L-BFGS, which needs none of the parameters of the others.
    alpha : float
        Strength of the penalty, at least 0. With n samples, ``C = 1 / (alpha n)`` in
        `LogisticRegression`; two classes have a weight vector each here, so that it is
        ``C = 2 / (alpha n)`` for them.
    batch_size : int or "auto"
        Rows of a step, all of them if there are fewer. "auto" is a sixteenth of the rows, from 32
        to 128; for sparse features at least enough to meet each column about once.
    learning_rate : {"cosine", "constant", "invscaling", "adaptive"}
        "cosine" keeps the rate until the loss stalls or half of `max_iter` is over, and then lets
        it fall to 0 in as many epochs again. "constant" stays; "invscaling" divides by
        ``(1 + t)**power_t`` after t rows; "adaptive" divides by 5 each time that the loss stalls,
        until 1e-6.
    learning_rate_init : float or "auto"
        The first rate. "auto": 0.001 for Adam and AdamW, otherwise from the second moments of the
        features. Dense features are then standardised within the training; the model and the
        penalty are of the features as they are.
    power_t : float
        Of "invscaling".
    momentum, nesterovs_momentum
        Of "sgd".
    beta_1, beta_2, epsilon
        Of "adam" and "adamw".
    label_smoothing : float
        Share of each target that is spread over all classes.
    max_iter : int
        Epochs, or iterations of L-BFGS.
    shuffle : bool
        Take the rows in a new order in each epoch.
    tol, n_iter_no_change
        The loss stalls when it has not fallen below its lowest by more than `tol` in this many
        epochs in a row. It is that of the training or, with `early_stopping`, of the held-out
        rows. L-BFGS ends at a gradient below `tol`.
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
        Mean training loss while each epoch ran, plus the penalty at its end. A warm start and
        `partial_fit` go on with it.
    loss_, best_loss_ : float
        Its last value, and its lowest (None with `early_stopping`).
    validation_loss_curve_, validation_scores_ : list of float
        Held-out loss and accuracy after each epoch; None without `early_stopping`.
    best_validation_score_ : float
        The highest of these.
    n_iter_, t_ : int
        Epochs of the last fit; rows gone over in all.
    n_outputs_ : int
        Outputs that the loss is of.
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
    >>> x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=0)
    >>> model = SoftmaxRegression(max_iter=500, random_state=0).fit(x_train, y_train)
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
        power_t: float = 0.5,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        label_smoothing: float = 0.0,
        max_iter: int = 200,
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
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
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
