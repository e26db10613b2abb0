"""scikit-learn's own checks of an estimator, and its tools around softstep's."""

from typing import Any

import pytest

pytest.importorskip("softstep.sklearn", exc_type=ImportError)
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from softstep.sklearn import (
    LogisticRegression,
    MLPClassifier,
    MLPRegressor,
    SGDClassifier,
    SGDRegressor,
    SoftmaxRegression,
)

ESTIMATORS = [
    SoftmaxRegression(max_iter=50),
    MLPClassifier(hidden_layer_sizes=(16,), max_iter=50),
    SoftmaxRegression(solver="adamw", learning_rate_init=0.1, max_iter=50),
    LogisticRegression(),
    SGDClassifier(),
    SGDClassifier("log_loss"),
    SGDRegressor(),
    MLPRegressor(hidden_layer_sizes=(16,), max_iter=50),
]
# Most have few epochs, as the checks have it.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@parametrize_with_checks(ESTIMATORS)
def test_a_check_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


def test_a_search_over_a_pipeline() -> None:
    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=0)
    pipeline = make_pipeline(StandardScaler(), SoftmaxRegression(max_iter=10, random_state=0))
    grid = {"softmaxregression__alpha": [1e-4, 3.0]}
    search = GridSearchCV(pipeline, grid, cv=2, scoring="neg_log_loss").fit(x_train, y_train)
    assert search.best_params_ == {"softmaxregression__alpha": 1e-4}
    assert search.score(x_test, y_test) > -0.25
    assert search.best_estimator_.score(x_test, y_test) > 0.94
