"""What the estimators compute: optima, weights, stopping, states, messages."""

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip("softstep.sklearn", exc_type=ImportError)
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from softstep.sklearn import MLPClassifier, SoftmaxRegression

BOTH = [SoftmaxRegression, MLPClassifier]
# Most have few epochs.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def problem(classes: int = 3, n: int = 90, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    logits = x @ rng.normal(size=(4, classes)) + rng.normal(size=classes)
    return x, np.array(list("abcdefg"))[(logits + rng.gumbel(size=(n, classes))).argmax(1)]


def parameters(model: Any) -> list[Any]:
    if isinstance(model, MLPClassifier):
        return [*model.coefs_, *model.intercepts_]
    return [model.coef_, model.intercept_]


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_optimum_is_that_of_logistic_regression(classes: int, fit_intercept: bool) -> None:
    x, y = problem(classes)
    alpha = 0.02
    c = (2 if classes == 2 else 1) / (alpha * len(x))
    theirs = LogisticRegression(C=c, fit_intercept=fit_intercept, tol=1e-10, max_iter=1000)
    theirs.fit(x, y)
    ours = SoftmaxRegression(
        alpha=alpha,
        fit_intercept=fit_intercept,
        max_iter=1500,
        n_iter_no_change=1500,
        batch_size=len(x),
    ).fit(x, y)
    assert ours.coef_.shape == theirs.coef_.shape
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)
    # The penalty leaves the mean of the intercepts open.
    center = lambda b: b - b.mean() if classes > 2 else b  # noqa: E731
    np.testing.assert_allclose(center(ours.intercept_), center(theirs.intercept_), atol=1e-5)
    np.testing.assert_allclose(ours.decision_function(x), theirs.decision_function(x), atol=1e-4)


@pytest.mark.parametrize("estimator", BOTH)
def test_predictions_belong_together(estimator: Any) -> None:
    x, y = problem(classes=2)
    model = estimator(max_iter=5, random_state=0).fit(x, y)
    proba = model.predict_proba(x)
    np.testing.assert_allclose(proba.sum(1), 1, rtol=1e-14)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(x)), proba, rtol=1e-13)
    np.testing.assert_array_equal(model.predict(x), model.classes_[proba.argmax(1)])
    if estimator is SoftmaxRegression:
        np.testing.assert_array_equal(model.decision_function(x) > 0, model.predict(x) == "b")
        assert model.coef_.shape == (1, 4) and model.intercept_.shape == (1,)


@pytest.mark.parametrize("estimator", BOTH)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_is_that_of_the_features(estimator: Any, dtype: Any) -> None:
    x, y = problem()
    model = estimator(max_iter=2).fit(x.astype(dtype), y)
    assert {p.dtype for p in parameters(model)} == {np.dtype(dtype)}
    assert model.predict_proba(x).dtype == dtype


@pytest.mark.parametrize("estimator", BOTH)
def test_weights_repeat_rows(estimator: Any) -> None:
    x, y = problem(n=40)
    weights = np.arange(40) % 3
    options = {"max_iter": 20, "random_state": 0, "batch_size": 40}
    repeated = estimator(**options).fit(x.repeat(weights, axis=0), y.repeat(weights))
    by_class = {"a": 2.0, "b": 0.5}
    for weighted, other in (
        (estimator(**options).fit(x, y, weights), repeated),
        (
            estimator(class_weight=by_class, **options).fit(x, y),
            estimator(**options).fit(x, y, np.array([by_class.get(c, 1.0) for c in y])),
        ),
        (
            estimator(class_weight="balanced", **options).fit(x, y),
            estimator(**options).fit(x, y, np.array([40 / (3 * np.sum(y == c)) for c in y])),
        ),
    ):
        for p, q in zip(parameters(weighted), parameters(other), strict=True):
            np.testing.assert_allclose(p, q, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("exponent", [-140, 123])
@pytest.mark.parametrize("estimator", BOTH)
def test_only_the_ratios_of_weights_count(
    estimator: Any, exponent: int, early_stopping: bool
) -> None:
    """Also of those whose sum in float32 overflows, or whose mean is no normal number."""
    x, y = problem()
    x = x.astype(np.float32)
    weights = 1 + np.arange(len(x), dtype=np.float32) % 3
    # The perceptron's penalty is divided by the weights, as scikit-learn's.
    options = {"max_iter": 5, "random_state": 0, "early_stopping": early_stopping, "alpha": 0}
    expected = parameters(estimator(**options).fit(x, y, weights))
    far = np.ldexp(weights, exponent)
    by_class = dict.fromkeys("abc", 2.0**exponent)
    for actual in (
        estimator(**options).fit(x, y, far),
        estimator(class_weight=by_class, **options).fit(x, y, weights),
    ):
        for p, q in zip(parameters(actual), expected, strict=True):
            assert p.dtype == np.float32
            np.testing.assert_array_equal(p, q)


@pytest.mark.parametrize("estimator", BOTH)
def test_masked_arrays_are_refused(estimator: Any) -> None:
    x, y = problem()
    labels = np.unique(y, return_inverse=True)[1]
    model = estimator(max_iter=1).fit(x, labels)
    some = np.arange(len(x)) % 2 == 0
    masked, rows = np.ma.array(x, mask=np.isnan(x)), np.ma.array(labels, mask=some)
    for name, call in {
        "X": lambda: model.fit(masked, labels),
        "y": lambda: model.fit(x, rows),
        "sample_weight": lambda: model.fit(x, labels, sample_weight=rows),
        "classes": lambda: estimator().partial_fit(x, labels, classes=rows),
    }.items():
        with pytest.raises(TypeError, match=f"^{name}: expected an array without a mask"):
            call()
    for call in (model.predict, model.predict_proba, model.predict_log_proba):
        with pytest.raises(TypeError, match=r"^X: expected an array without a mask"):
            call(masked)
    with pytest.raises(TypeError, match=r"^X: expected an array without a mask"):
        model.partial_fit(masked, labels)


@pytest.mark.parametrize("solver", ["sgd", "adamw"])
@pytest.mark.parametrize("estimator", BOTH)
def test_partial_fits_are_a_fit(estimator: Any, solver: str) -> None:
    x, y = problem()
    options: dict[str, Any] = {"solver": solver, "learning_rate_init": 0.01, "shuffle": False}
    options |= {"batch_size": 32, "random_state": 0, "learning_rate": "constant", "max_iter": 4}
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        whole = estimator(**options).fit(x, y)
    model = estimator(**options)
    for _ in range(4):
        model = pickle.loads(pickle.dumps(model)).partial_fit(x, y, classes=["c", "b", "a"])
    assert model.n_iter_ == 4 and model.loss_curve_ == pytest.approx(whole.loss_curve_, rel=1e-12)
    for p, q in zip(parameters(model), parameters(whole), strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("estimator", BOTH)
def test_warm_start(estimator: Any) -> None:
    x, y = problem()
    model = estimator(max_iter=5, warm_start=True, random_state=0).fit(x, y)
    first, seen = model.loss_curve_, model.t_
    curve = model.fit(x, y).loss_curve_
    assert curve[:5] == first and curve[5] < first[0] and len(curve) == 10
    assert model.n_iter_ == 5 and model.t_ == 2 * seen == 10 * len(x)
    with pytest.raises(ValueError, match="y: warm_start can only be used where"):
        model.fit(x, np.where(y == "a", "z", y))


@pytest.mark.parametrize("estimator", BOTH)
def test_early_stopping_keeps_the_best(estimator: Any) -> None:
    x, y = problem(n=120)
    model = estimator(
        early_stopping=True, validation_fraction=0.25, max_iter=200, n_iter_no_change=3,
        learning_rate_init=0.5, alpha=0, random_state=0,
    ).fit(x, y)  # fmt: skip
    curve = model.validation_loss_curve_
    assert model.n_iter_ == len(curve) == len(model.loss_curve_) < 200
    assert all(loss > min(curve[:-3]) - 1e-4 for loss in curve[-3:])
    # The same trajectory, cut at its best epoch.
    again = estimator(**{**model.get_params(), "n_iter_no_change": 200}).set_params(tol=0)
    again.fit(x, y)
    assert min(again.validation_loss_curve_) <= min(curve)


def test_training_stops_when_the_loss_does() -> None:
    x, y = problem()
    model = SoftmaxRegression(
        learning_rate="constant", tol=1e-3, n_iter_no_change=4, max_iter=500, random_state=0
    ).fit(x, y)
    assert model.n_iter_ < 500
    curve = model.loss_curve_
    assert all(loss > min(curve[:-4]) - 1e-3 for loss in curve[-4:])


@pytest.mark.parametrize("scale", [1 / 16, 1.0, 100.0])
def test_the_rate_follows_the_scale_of_the_features(scale: float) -> None:
    x, y = load_digits(return_X_y=True)
    x_train, x_test = x[:1400] * scale, x[1400:] * scale
    model = SoftmaxRegression(random_state=0, alpha=0).fit(x_train, y[:1400])
    assert log_loss(y[1400:], model.predict_proba(x_test)) < 0.6
    assert model.score(x_test, y[1400:]) > 0.85


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solver": "newton-cg"}, "solver: expected one of"),
        ({"learning_rate": "optimal"}, "learning_rate: expected one of"),
        ({"learning_rate_init": 0}, "learning_rate_init: expected a number"),
        ({"alpha": -1.0}, "alpha: expected a number"),
        ({"batch_size": 0}, "batch_size: expected a whole number"),
        ({"max_iter": 1.5}, "max_iter: expected a whole number"),
        ({"validation_fraction": 1.0}, "validation_fraction: expected a number"),
        ({"learning_rate_init": 1e300}, "diverged|lr"),
    ],
)
@pytest.mark.parametrize("estimator", BOTH)
def test_bad_parameters(estimator: Any, options: dict[str, Any], message: str) -> None:
    x, y = problem()
    with pytest.raises(ValueError, match=message), np.errstate(all="ignore"):
        estimator(**options).fit(x, y)


def test_bad_data() -> None:
    x, y = problem()
    with pytest.raises(ValueError, match="hidden_layer_sizes: expected a whole number"):
        MLPClassifier(hidden_layer_sizes=(3, 0)).fit(x, y)
    with pytest.raises(ValueError, match="classes: expected all classes"):
        SoftmaxRegression().partial_fit(x, y)
    model = SoftmaxRegression().partial_fit(x, y, classes=["a", "b", "c"])
    with pytest.raises(ValueError, match=r"y: expected classes in .* got \['z'\]"):
        model.partial_fit(x, np.where(y == "a", "z", y))
    with pytest.raises(ValueError, match="balanced"):
        SoftmaxRegression(class_weight="balanced").partial_fit(x, y, classes=["a", "b", "c"])
    with pytest.raises(ValueError, match=r"[Ss]ample.weight"):
        SoftmaxRegression().fit(x, y, np.zeros(len(y)))


@pytest.mark.parametrize("verbose", [False, True])
def test_progress_is_shown_on_demand(verbose: bool, capsys: pytest.CaptureFixture[str]) -> None:
    SoftmaxRegression(max_iter=3, verbose=verbose).fit(*problem())
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("epoch") == (3 if verbose else 0)


def test_the_import_is_on_demand_and_says_what_is_missing() -> None:
    program = (
        "import sys, softstep; assert 'sklearn' not in sys.modules\n"
        "sys.modules['sklearn'] = None\n"
        "try: import softstep.sklearn\n"
        "except ImportError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "needs scikit-learn" in run.stdout and "pip install" in run.stdout
