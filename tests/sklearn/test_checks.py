"""scikit-learn's own checks of an estimator, and its tools around softstep's."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("softstep.sklearn", exc_type=ImportError)
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from softstep.sklearn import MLPClassifier, SoftmaxRegression

ESTIMATORS = [
    SoftmaxRegression(),
    MLPClassifier(hidden_layer_sizes=(16,)),
    SoftmaxRegression(solver="adamw", learning_rate_init=0.1),
]


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


@pytest.mark.parametrize("estimator", ESTIMATORS[:2], ids=lambda e: type(e).__name__)
def test_sparse_features_are_refused(estimator: Any) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match=r"[Ss]parse.*dense"):
        estimator.fit(sparse.eye(10, format="csr"), np.arange(10) % 2)
