"""Where fits end: the optima of scikit-learn's solvers, or in closed form."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("softstep.sklearn", exc_type=ImportError)
import sklearn.linear_model as theirs
from sklearn.svm import LinearSVC

from softstep.sklearn import (
    LogisticRegression,
    MLPRegressor,
    SGDClassifier,
    SGDRegressor,
    SoftmaxRegression,
)
from tests.sklearn.problems import classified, numbers

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("C", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("classes", [2, 4])
def test_logistic_regression(classes: int, C: float, fit_intercept: bool) -> None:
    x, y = classified(classes, 200)
    x = x * [1, 10, 0.1, 1] + [0, 3, 0, -2]
    weights = 0.1 + np.arange(len(y)) % 3
    options: dict[str, Any] = {"C": C, "fit_intercept": fit_intercept, "max_iter": 10_000}
    options["class_weight"] = {"a": 2.0}
    expected = theirs.LogisticRegression(**options, tol=1e-9, solver="newton-cg").fit(x, y, weights)
    actual = LogisticRegression(**options, tol=1e-9).fit(x, y, weights)
    np.testing.assert_allclose(
        actual.predict_log_proba(x), expected.predict_log_proba(x), atol=1e-4
    )
    assert actual.coef_.shape == expected.coef_.shape
    assert actual.intercept_.shape == expected.intercept_.shape
    np.testing.assert_allclose(actual.coef_, expected.coef_, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("solver", ["lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag"])
def test_every_name_of_a_solver_has_the_same_bits(solver: str, dtype: Any) -> None:
    x, y = classified()
    x = x.astype(dtype)
    expected, actual = (LogisticRegression(solver=s).fit(x, y) for s in ("saga", solver))
    np.testing.assert_array_equal(actual.coef_, expected.coef_)
    assert actual.coef_.dtype == dtype


def ridge(x: Any, y: Any, alpha: float, centered: bool, weights: Any) -> tuple[Any, Any]:
    """The minimum of the weighted mean of (x w + b - y)^2 / 2, and alpha / 2 ||w||^2."""
    share = weights / weights.sum()
    mean, offset = (share @ x, share @ y) if centered else (np.zeros(x.shape[1]), 0 * y[0])
    z = x - mean
    moments = z.T @ (z * share[:, None]) + alpha * np.eye(x.shape[1])
    w = np.linalg.solve(moments, z.T @ ((y - offset).T * share).T)
    return w, offset - mean @ w


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("alpha", [1e-4, 0.5])
def test_a_linear_regressor(alpha: float, fit_intercept: bool) -> None:
    x, y = numbers()
    if not fit_intercept:  # which would have to make up for the features' means
        x, y = (x - x.mean(0)) / [1e-3, 1, 5, 1e2, 1e4], y - y.mean()
    weights = 1.0 + np.arange(len(y)) % 3
    w, b = ridge(x, y, alpha, fit_intercept, weights)
    model = SGDRegressor(
        alpha=alpha, fit_intercept=fit_intercept, batch_size=len(x), tol=None, max_iter=200
    ).fit(x, y, weights)
    assert model.coef_.shape == (5,) and model.intercept_.shape == (1,)
    np.testing.assert_allclose(model.predict(x), x @ w + b, atol=1e-8 * y.std())


@pytest.mark.parametrize("targets", [1, 3])
def test_a_network_without_curves_is_linear(targets: int) -> None:
    """Of one layer's rank, for more targets than which it has units."""
    x, y = numbers(targets=targets)
    w, b = ridge(x, y, 0.0, True, np.ones(len(x)))
    model = MLPRegressor(
        hidden_layer_sizes=(4,), activation="identity", solver="lbfgs", alpha=0, tol=1e-8,
        max_iter=2000, random_state=0,
    ).fit(x, y)  # fmt: skip
    assert model.predict(x).shape == y.shape and model.out_activation_ == "identity"
    np.testing.assert_allclose(model.predict(x), x @ w + b, atol=1e-4 * y.std())


@pytest.mark.parametrize("classes", [2, 4])
def test_the_hinge(classes: int) -> None:
    """Liblinear has a penalty on the intercept, and none for 0 of it."""
    x, y = classified(classes, 200)
    alpha = 0.01
    options = {"C": 1 / (alpha * len(y)), "fit_intercept": False, "tol": 1e-6}
    kind = {"loss": "hinge"} if classes == 2 else {"multi_class": "crammer_singer"}
    theirs_ = LinearSVC(**options, **kind, max_iter=100_000, random_state=0).fit(x, y)
    model = SGDClassifier(
        alpha=alpha, fit_intercept=False, tol=None, max_iter=500, random_state=0
    ).fit(x, y)
    assert model.coef_.shape == theirs_.coef_.shape
    values = [
        hinge_objective(m.coef_, x, m.classes_.searchsorted(y), alpha) for m in (model, theirs_)
    ]
    assert values[0] == pytest.approx(values[1], abs=1e-3)
    assert np.mean(model.predict(x) == theirs_.predict(x)) > 0.97
    assert not hasattr(model, "predict_proba")


def hinge_objective(coef: Any, x: Any, labels: Any, alpha: float) -> float:
    """Both forms from their definitions."""
    scores = x @ coef.T
    if scores.shape[1] == 1:
        losses = np.maximum(0, 1 - (2 * labels - 1) * scores[:, 0])
    else:
        rows = np.arange(len(x))
        right = scores[rows, labels].copy()
        scores[rows, labels] = -np.inf
        losses = np.maximum(0, 1 + scores.max(axis=1) - right)
    return float(losses.mean() + alpha / 2 * np.sum(coef**2))


@pytest.mark.parametrize("classes", [2, 3])
def test_the_names_of_one_optimum(classes: int) -> None:
    """`C` and `alpha`, with a vector for each of two classes or one for both."""
    x, y = classified(classes, 120)
    alpha = 0.02
    one = LogisticRegression(C=1 / (alpha * len(x)), tol=1e-8).fit(x, y)
    both = 2 if classes == 2 else 1
    long: dict[str, Any] = {
        "tol": 0,
        "n_iter_no_change": 600,
        "max_iter": 600,
        "batch_size": len(x),
    }
    for other in (
        SoftmaxRegression(alpha=both * alpha, solver="lbfgs", tol=1e-8).fit(x, y),
        SoftmaxRegression(alpha=both * alpha, **long).fit(x, y),
        SGDClassifier("log_loss", alpha=alpha, **long).fit(x, y),
    ):
        np.testing.assert_allclose(other.coef_, one.coef_, atol=1e-5)
