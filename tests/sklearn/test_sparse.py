"""Sparse features: the results of dense ones, in the memory of sparse ones."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("softstep.sklearn", exc_type=ImportError)
import scipy.sparse as sp
from sklearn.base import is_regressor

from softstep.sklearn import (
    LogisticRegression,
    MLPClassifier,
    MLPRegressor,
    SGDClassifier,
    SGDRegressor,
    SoftmaxRegression,
)
from softstep.training.memory import with_peak

# A rate that is given is of features as they are: the same steps, then.
GIVEN: dict[str, Any] = {"batch_size": 32, "random_state": 0, "max_iter": 8}
SAME_STEPS = [
    SoftmaxRegression(learning_rate_init=0.1, **GIVEN),
    SoftmaxRegression(solver="adamw", learning_rate_init=0.01, **GIVEN),
    MLPClassifier((8,), learning_rate_init=0.1, **GIVEN),
    MLPRegressor(hidden_layer_sizes=(8,), learning_rate_init=0.01, **GIVEN),
    SGDClassifier(learning_rate="constant", eta0=0.01, **GIVEN),
    SGDRegressor(learning_rate="invscaling", eta0=0.01, **GIVEN),
]
FULL_BATCHES = [
    LogisticRegression(),
    LogisticRegression(fit_intercept=False, C=100.0),
    SoftmaxRegression(solver="lbfgs"),
    MLPRegressor(hidden_layer_sizes=(8,), solver="lbfgs", max_iter=5, random_state=0),
]
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def problem(model: Any, dtype: Any = np.float64) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    dense = rng.random((150, 12)) * (rng.random((150, 12)) < 0.3)
    scores = dense @ rng.normal(size=(12, 3)) + 0.1 * rng.normal(size=(150, 3))
    y = scores[:, 0] if is_regressor(model) else scores.argmax(axis=1)
    return dense.astype(dtype), y


def outputs(model: Any, x: Any, y: Any, given: Any = None) -> Any:
    return model.fit(x, y, given)._outputs(x)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("model", SAME_STEPS + FULL_BATCHES, ids=lambda m: type(m).__name__)
def test_results_are_those_of_dense_features(model: Any, dtype: Any) -> None:
    x, y = problem(model, dtype)
    weights = 1 + np.arange(len(y)) % 3
    weights[5] = 0
    expected = outputs(model, x, y, weights)
    actual = outputs(model, sp.csr_array(x), y, weights)
    assert actual.dtype == dtype
    # Roundings of the coordinates and of sums in another order, along a few hundred steps.
    bound = 1e-8 if dtype == np.float64 else 2e-2
    np.testing.assert_allclose(actual, expected, atol=bound * np.abs(expected).max())


@pytest.mark.parametrize("layout", ["csr_array", "csc_matrix", "coo_array", "csr_matrix"])
def test_any_sparse_matrix_is_taken(layout: str) -> None:
    model = SAME_STEPS[0]
    x, y = problem(model)
    expected = outputs(model, x, y)
    np.testing.assert_allclose(outputs(model, getattr(sp, layout)(x), y), expected, atol=1e-12)
    np.testing.assert_allclose(model._outputs(x), expected, atol=1e-12)


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(max_iter=5),
        SoftmaxRegression(max_iter=2),
        SGDClassifier(max_iter=2),
        SGDClassifier(max_iter=2, early_stopping=True),
        MLPClassifier((4,), max_iter=2),
        SGDRegressor(max_iter=2),
    ],
    ids=lambda model: type(model).__name__,
)
def test_wide_features_are_never_dense(model: Any) -> None:
    """Fit, predict and partial_fit take a small part of the dense features' 1.5 GiB."""
    rows, columns = 2000, 100_000
    rng = np.random.default_rng(0)
    places = np.arange(20 * rows) // 20, rng.integers(columns, size=20 * rows)
    x = sp.csr_array((rng.random(20 * rows), places), shape=(rows, columns))
    y = np.arange(rows) % 3

    def run() -> Any:
        model.fit(x, y).predict(x)
        if hasattr(model, "partial_fit") and not model.early_stopping:
            model.partial_fit(x, y)

    _, peak = with_peak(run)
    if peak is None:
        pytest.skip("the system does not say how much memory a process has")
    assert peak < rows * columns * 8 / 8


def test_a_sparse_part_after_dense_ones() -> None:
    """The scaled coordinates of the fit would make it dense."""
    x, y = problem(SoftmaxRegression())
    model = SoftmaxRegression(random_state=0).fit(x, y)
    before = model.score(x, y)
    model.partial_fit(sp.csr_array(x), y)
    assert model.score(x, y) > before - 0.1
    model.partial_fit(x, y)
    assert np.all(np.isfinite(model.coef_))
