"""Logistic regression with scikit-learn's parameters, at its optimum."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from softstep.sklearn._linear_classifier import LinearClassifier
from softstep.sklearn._options import Check, choice, number, whole
from softstep.sklearn._settings import Settings
from softstep.sklearn._targets import Targets

SOLVERS = ("lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga")


class LogisticRegression(LinearClassifier):
    r"""Logistic regression of two or many classes, with scikit-learn's parameters.

    Minimizes, as ``sklearn.linear_model.LogisticRegression`` does,

    ``C sum_i w_i (logsumexp(z_i) - z_i[y_i]) + ||W||**2 / 2``, ``z_i = W x_i + b``,

    for two classes with the single weight vector of the difference of their logits, by SciPy's
    L-BFGS on full batches of features that are standardised within the training.

    Parameters
    ----------
    penalty : {"l2", None}
        None is an infinite `C`.
    C : float
        Inverse strength of the penalty, above 0; may be infinite.
    l1_ratio : float, optional
        0 or None: there is no l1 penalty here.
    dual, intercept_scaling, n_jobs
        Without effect: the optimum is the same. softstep's own setting of threads counts.
    tol : float
        Largest component of the gradient, divided by C and the sum of the weights, to end at.
    fit_intercept : bool
        Whether to have b, on which is no penalty.
    class_weight : dict or "balanced", optional
        Factors of the sample weights: by class, or inverse to the frequency of the class.
    random_state : int, RandomState or None
        Without effect: nothing is drawn.
    solver : str
        Any of scikit-learn's names; their optimum is the same.
    max_iter : int
        Iterations.
    verbose : int
        Above 0: show the progress on stderr.
    warm_start : bool
        `fit` begins with the parameters of the last one.

    Attributes
    ----------
    coef_ : ndarray
        Shape (C, d); for two classes (1, d).
    intercept_ : ndarray
        Shape (C,) or (1,).
    classes_ : ndarray
        The labels, sorted.
    n_iter_ : ndarray of int
        Iterations, shape (1,).
    loss_curve_, loss_, best_loss_
        The objective divided by C and the sum of the weights: after each iteration, its last value
        and its lowest.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from softstep.sklearn import LogisticRegression
    >>> x, y = load_wine(return_X_y=True)
    >>> LogisticRegression().fit(x, y).score(x, y) > 0.95
    True
    """

    _least_classes = 2
    _checks: dict[str, Check] = {  # noqa: RUF012
        "penalty": choice("l2", None),
        "C": number(0, open_ends=True),
        "l1_ratio": number(0, 0, also=(None,)),
        "solver": choice(*SOLVERS),
        "max_iter": whole(0),
    }

    def __init__(
        self,
        penalty: str | None = "l2",
        *,
        C: float = 1.0,
        l1_ratio: float | None = 0.0,
        dual: bool = False,
        tol: float = 1e-4,
        fit_intercept: bool = True,
        intercept_scaling: float = 1.0,
        class_weight: Any = None,
        random_state: Any = None,
        solver: str = "lbfgs",
        max_iter: int = 100,
        verbose: int = 0,
        warm_start: bool = False,
        n_jobs: Any = None,
    ) -> None:
        self.penalty = penalty
        self.C = C
        self.l1_ratio = l1_ratio
        self.dual = dual
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.class_weight = class_weight
        self.random_state = random_state
        self.solver = solver
        self.max_iter = max_iter
        self.verbose = verbose
        self.warm_start = warm_start
        self.n_jobs = n_jobs

    def _settings(self, targets: Targets) -> Settings:
        alpha = 0.0 if self.penalty is None or math.isinf(self.C) else 1 / self.C
        if self.penalty is None and self.C != 1.0:
            warnings.warn("Setting penalty=None will ignore the C", UserWarning, stacklevel=3)
        return Settings(
            self._loss(targets),
            targets.classes,
            # Two classes have a vector each within the training.
            alpha=2 * alpha if targets.outputs == 2 else alpha,
            alpha_by_rows=True,
            fit_intercept=self.fit_intercept,
            solver="lbfgs",
            max_iter=self.max_iter,
            tol=self.tol,
            verbose=bool(self.verbose),
        )

    def _set_iterations(self, count: int) -> None:
        self.n_iter_ = np.array([count], dtype=np.int32)
