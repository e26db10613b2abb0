"""How far fits go: more epochs, features of any size, warnings."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

pytest.importorskip("softstep.sklearn", exc_type=ImportError)
import sklearn.linear_model as theirs
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from softstep.sklearn import (
    LogisticRegression,
    MLPClassifier,
    MLPRegressor,
    SGDClassifier,
    SGDRegressor,
    SoftmaxRegression,
)
from tests.sklearn.problems import classified, numbers, tables

TABLES = tables()
EPOCHS = (4, 7, 10, 25, 50, 100, 200)
CLASSIFIERS = {
    "softmax": SoftmaxRegression(),
    "adam": SoftmaxRegression(solver="adam"),
    "perceptron": MLPClassifier((16,), batch_size=32),
    "tanh": MLPClassifier((16,), activation="tanh", batch_size=32),
    "hinge": SGDClassifier(),
    "log_loss": SGDClassifier("log_loss"),
    "logistic": LogisticRegression(),
}
ignored = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def fits(model: Any, x: Any, y: Any, several: Sequence[int] = EPOCHS) -> list[Any]:
    options = {**model.get_params(), "random_state": 0}
    return [type(model)(**{**options, "max_iter": epochs}).fit(x, y) for epochs in several]


def objective(model: Any, x: Any, y: Any) -> float:
    """The mean loss in float64 and the penalty."""
    layers = getattr(model, "coefs_", None) or [model.coef_]
    penalty = sum(float(np.sum(w**2)) for w in layers) / 2
    rows = np.arange(len(y))
    if hasattr(model, "predict_log_proba"):
        loss = -np.mean(model.predict_log_proba(x)[rows, np.searchsorted(model.classes_, y)])
    else:
        scores = model.decision_function(x)
        if scores.ndim == 1:
            scores = np.stack([-scores / 2, scores / 2], axis=1)
        own = np.searchsorted(model.classes_, y)
        right = scores[rows, own].copy()
        scores[rows, own] = -np.inf
        loss = np.mean(np.maximum(0, 1 + scores.max(axis=1) - right))
    if isinstance(model, LogisticRegression):
        return float(loss + penalty / (model.C * len(y)))
    return float(loss + model.alpha * penalty / (32 if hasattr(model, "coefs_") else 1))


@ignored
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_more_epochs_give_no_worse_model(name: str, table: str) -> None:
    """Beyond what a fit takes for no progress."""
    x, y = TABLES[table]
    models = fits(CLASSIFIERS[name], x, y)
    reached = [objective(model, x, y) for model in models]
    bound = models[0].tol * getattr(models[0], "n_iter_no_change", 1)
    lowest = np.minimum.accumulate(reached)
    assert np.all(reached <= lowest + bound), dict(zip(EPOCHS, reached, strict=True))


@ignored
@pytest.mark.parametrize("estimator", [SGDRegressor(), MLPRegressor(hidden_layer_sizes=(16,))])
def test_more_epochs_give_no_worse_regressor(estimator: Any) -> None:
    x, y = numbers()
    # 4 epochs are 16 steps here.
    models = fits(estimator, x, y, EPOCHS[2:])
    reached = [np.mean((model.predict(x) - y) ** 2) / 2 / np.var(y) for model in models]
    bound = models[0].tol * models[0].n_iter_no_change
    assert np.all(reached <= np.minimum.accumulate(reached) + bound), reached


@ignored
@pytest.mark.parametrize("name", ["softmax", "perceptron", "hinge"])
def test_beyond_the_stall_models_are_the_same(name: str) -> None:
    x, y = classified()
    model = CLASSIFIERS[name]
    options = {**model.get_params(), "random_state": 0, "tol": 0.01, "n_iter_no_change": 5}
    several = [type(model)(**{**options, "max_iter": n}).fit(x, y) for n in (100, 150, 400)]
    assert len({model.n_iter_ for model in several}) == 1 and several[0].n_iter_ < 100
    first, *others = [model._parameters()[0] for model in several]
    for other in others:
        for p, q in zip(first, other, strict=True):
            np.testing.assert_array_equal(p, q)


@ignored
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("estimator", [SoftmaxRegression, MLPClassifier])
def test_early_stopping_of_longer_fits(estimator: Any, early_stopping: bool) -> None:
    """The lowest held-out loss is no higher; without it there is none."""
    x, y = classified(n=300)
    options = {"random_state": 0, "early_stopping": early_stopping}
    curves = [
        estimator(max_iter=n, **options).fit(x, y).validation_loss_curve_ for n in (20, 80, 320)
    ]
    if not early_stopping:
        assert curves == [None, None, None]
        return
    lowest = [min(curve) for curve in curves]
    assert lowest[1] <= lowest[0] + 1e-3 and lowest[2] <= lowest[1] + 1e-3


@ignored
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_wine_as_it_is(name: str) -> None:
    """No more than a row of ten behind scikit-learn's behind a scaler."""
    x, y = load_wine(return_X_y=True)
    scaled = make_pipeline(StandardScaler(), theirs.LogisticRegression())
    behind = cross_val_score(scaled, x, y).mean() - cross_val_score(CLASSIFIERS[name], x, y).mean()
    assert behind < 0.05


SCALABLE = [
    SoftmaxRegression(alpha=0, random_state=0),
    MLPClassifier((8,), alpha=0, random_state=0),
    MLPClassifier((8,), alpha=0, solver="lbfgs", random_state=0),
    SGDClassifier(penalty=None, random_state=0),
    LogisticRegression(C=np.inf, max_iter=10),
]


@ignored
@pytest.mark.parametrize("model", SCALABLE, ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("exponent", [-40, 30])
def test_the_size_of_a_feature_changes_nothing(model: Any, exponent: int) -> None:
    """Without a penalty: factors of two do not even change a rounding."""
    x, y = classified()
    sized = x * np.exp2([exponent, 0, -exponent, 3])
    outputs = [clone(model).fit(features, y)._outputs(features) for features in (x, sized)]
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=1e-9)


@ignored
@pytest.mark.parametrize("model", [SoftmaxRegression(), LogisticRegression(), SGDRegressor()])
def test_features_without_a_variance_are_refused(model: Any) -> None:
    x, y = classified(2)
    with pytest.raises(ValueError, match="X: expected features whose variance is a finite number"):
        model.fit(x * 1e200, np.unique(y, return_inverse=True)[1])


@pytest.mark.parametrize("estimator", [SoftmaxRegression, MLPClassifier])
def test_a_rate_too_low_is_warned_of(estimator: Any) -> None:
    x, y = load_wine(return_X_y=True)
    with pytest.warns(ConvergenceWarning, match="max_iter: the loss still fell after 20 epochs"):
        estimator(learning_rate_init=1e-2, max_iter=20).fit(x / 1e3, y)
    with pytest.warns(ConvergenceWarning, match="lbfgs failed to converge after 3 iteration"):
        estimator(solver="lbfgs", max_iter=3).fit(x, y)
