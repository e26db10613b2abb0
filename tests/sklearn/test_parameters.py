"""One import is all that changes: parameters, attributes and rates as scikit-learn has them."""

import inspect
from typing import Any

import numpy as np
import pytest

pytest.importorskip("softstep.sklearn", exc_type=ImportError)
import sklearn.linear_model
import sklearn.neural_network
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris

import softstep.sklearn as ours
from softstep.sklearn._rates import SHORTEST_FALL, rate_of

PAIRS = {
    name: (getattr(module, name), getattr(ours, name))
    for module, names in (
        (sklearn.linear_model, ("LogisticRegression", "SGDClassifier", "SGDRegressor")),
        (sklearn.neural_network, ("MLPClassifier", "MLPRegressor")),
    )
    for name in names
}
# Neither a sparse coef_ nor callbacks are there; the compiled losses are scikit-learn's own.
NOT_THERE = {"densify", "sparsify", "set_callbacks", "loss_functions", "loss", "multi_class"}
NOT_THERE |= {"C"}  # of the stochastic ones, in older versions
ESTIMATORS = [getattr(ours, name) for name in ours.__all__ if name != "HalfMultinomialLoss"]
every_estimator = pytest.mark.parametrize("estimator", ESTIMATORS)
every_pair = pytest.mark.parametrize("name", PAIRS)
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@every_pair
def test_the_constructor_takes_what_theirs_takes(name: str) -> None:
    theirs, own = PAIRS[name]
    known = inspect.signature(own).parameters
    for parameter in inspect.signature(theirs).parameters.values():
        if parameter.default == "deprecated":  # they come and go with the versions
            continue
        assert known[parameter.name].kind in (parameter.kind, parameter.POSITIONAL_OR_KEYWORD)


@every_pair
def test_a_fitted_one_has_what_theirs_has(name: str) -> None:
    x, y = (load_diabetes if name.endswith("Regressor") else load_iris)(return_X_y=True)
    names = [
        {k for k in dir(c(max_iter=2).fit(x, y)) if not k.startswith("_")} for c in PAIRS[name]
    ]
    assert names[0] - names[1] <= NOT_THERE


SETTINGS: dict[str, Any] = {
    "LogisticRegression": [
        {"penalty": "l2", "C": 0.1, "solver": solver, "n_jobs": 2, "dual": False, "tol": 1e-3}
        for solver in ("lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga")
    ]
    + [{"penalty": None}],
    "SGDClassifier": [
        {"loss": loss, "penalty": penalty, "learning_rate": rate, "eta0": 0.01, "n_jobs": -1}
        for loss in ("hinge", "log_loss")
        for penalty in ("l2", None)
        for rate in ("optimal", "constant", "invscaling", "adaptive")
    ],
    "SGDRegressor": [
        {"loss": "squared_error", "learning_rate": rate, "eta0": 0.01, "early_stopping": True}
        for rate in ("optimal", "constant", "invscaling", "adaptive")
    ],
    "MLPClassifier": [
        {"activation": activation, "solver": solver, "learning_rate": rate, "power_t": 0.3}
        for activation in ("relu", "tanh", "logistic", "identity")
        for solver in ("sgd", "adam", "lbfgs")
        for rate in ("constant", "invscaling", "adaptive")
    ],
}
SETTINGS["MLPRegressor"] = SETTINGS["MLPClassifier"]


@pytest.mark.parametrize(
    ("name", "settings"), [(name, one) for name, several in SETTINGS.items() for one in several]
)
def test_settings_of_theirs(name: str, settings: dict[str, Any]) -> None:
    """It learns something with each of them, and can be copied."""
    x, y = (load_diabetes if name.endswith("Regressor") else load_iris)(return_X_y=True)
    x, y = (x - x.mean(0)) / x.std(0), y if y.max() < 3 else (y - y.mean()) / y.std()
    model = PAIRS[name][1](random_state=0, max_iter=30, **settings)
    assert clone(model).fit(x, y).score(x, y) > (0.1 if name.endswith("Regressor") else 0.6)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("LogisticRegression", {"penalty": "l1"}, r"penalty: expected one of \('l2', None\)"),
        ("LogisticRegression", {"l1_ratio": 0.5}, "l1_ratio: expected a number from 0 to 0"),
        ("LogisticRegression", {"C": 0}, "C: expected a number from 0 to inf, both excluded"),
        ("LogisticRegression", {"solver": "sgd"}, "solver: expected one of"),
        ("SGDClassifier", {"loss": "huber"}, "loss: expected one of"),
        ("SGDClassifier", {"penalty": "elasticnet"}, "penalty: expected one of"),
        ("SGDClassifier", {"average": True}, "average: expected one of"),
        ("SGDRegressor", {"loss": "huber"}, "loss: expected one of"),
        ("SGDRegressor", {"eta0": -1.0}, "eta0: expected a number"),
        ("MLPRegressor", {"loss": "poisson"}, "loss: expected one of"),
        ("MLPClassifier", {"activation": "gelu"}, "activation: expected one of"),
        ("MLPClassifier", {"max_fun": 0}, "max_fun: expected a whole number"),
    ],
)
def test_what_is_not_there_is_said(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        PAIRS[name][1](**settings).fit([[0.0], [1.0]], [0, 1])


@every_estimator
def test_what_is_no_bool_is_refused(estimator: Any) -> None:
    x, y = [[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1]
    defaults = estimator().get_params()
    switches = [k for k, v in defaults.items() if isinstance(v, bool) and k != "verbose"]
    bad = {name: ("no", 2, None) for name in switches} | {"verbose": ("no", -1, None)}
    for name, values in bad.items():
        for value in values:
            with pytest.raises(ValueError, match=rf"^{name}: expected .* got {value!r}$"):
                estimator(**{name: value}).fit(x, y)
    good = {k: np.bool_(defaults[k]) for k in bad if k != "average"}
    estimator(max_iter=2, **good).fit(x, y)


@pytest.mark.parametrize(
    "sizes", [2.5, 0, -1, True, None, "", "12", b"ab", {3}, (3, -1), (2.5,), (True,), [[3]]]
)
@pytest.mark.parametrize("estimator", [ours.MLPClassifier, ours.MLPRegressor])
def test_sizes_that_are_none_are_refused(estimator: Any, sizes: Any) -> None:
    with pytest.raises(ValueError, match=r"^hidden_layer_sizes: expected a whole number .* got "):
        estimator(hidden_layer_sizes=sizes).fit([[0.0], [1.0]], [0, 1])


@pytest.mark.parametrize(
    ("sizes", "layers"), [(np.int64(3), 3), (np.array([3, 2]), 4), (range(2, 4), 4), ((), 2)]
)
def test_sizes_of_any_sequence(sizes: Any, layers: int) -> None:
    model = ours.MLPRegressor(hidden_layer_sizes=sizes, max_iter=2).fit([[0.0], [1.0]], [0, 1])
    assert model.n_layers_ == layers


@pytest.mark.parametrize(
    "weights", [{0: -1}, {0: -1, 1: 1}, {0: np.nan}, {0: np.inf}, {0: "a"}, {0: None}, "x", [1, 2]]
)
@pytest.mark.parametrize("estimator", [e for e in ESTIMATORS if hasattr(e(), "class_weight")])
def test_class_weights_that_are_none_are_refused(estimator: Any, weights: Any) -> None:
    x, y = [[0.0], [1.0], [2.0]], [0, 1, 0]
    with pytest.raises(ValueError, match=r"^class_weight: expected .* got "):
        estimator(class_weight=weights).fit(x, y)


@pytest.mark.parametrize(
    ("factor", "expected"), [(1e300, "finite products, got inf"), (1e-300, "a weight above 0")]
)
def test_products_of_weights_are_numbers_above_0(factor: float, expected: str) -> None:
    model = ours.SGDClassifier(class_weight={0: factor, 1: factor}, learning_rate="constant")
    with pytest.raises(ValueError, match=f"^sample_weight, class_weight: expected {expected}"):
        model.fit([[0.0], [1.0]], [0, 1], sample_weight=[factor, factor])


def test_ignored_strength_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="penalty=None will ignore the C"):
        ours.LogisticRegression(penalty=None, C=4).fit([[0.0], [1.0], [0.5], [0.2]], [0, 1, 0, 1])


def rates(kind: str, epochs: int, stalls: tuple[int, ...] = (), seen: int = 0) -> list[float]:
    """The first rate of each epoch of 4 steps of 8 rows, the loss stalling after some of them."""
    rate = rate_of(kind, 0.5, 0.5, epochs, 4, 8, seen)
    found = []
    for epoch in range(1, epochs + 1):
        found.append(rate(4 * (epoch - 1)))
        if rate.after(epoch, epoch in stalls):
            break
    return found


def test_rates_by_their_formulas() -> None:
    assert rates("constant", 5) == [0.5] * 5
    assert rates("constant", 5, stalls=(3,)) == [0.5] * 3
    t = 32 * np.arange(5)
    assert rates("invscaling", 5) == pytest.approx(0.5 / np.sqrt(1 + t))
    assert rates("invscaling", 5, seen=100) == pytest.approx(0.5 / np.sqrt(101 + t))
    adaptive = rates("adaptive", 100, stalls=tuple(range(2, 100, 2)))
    assert adaptive == pytest.approx([0.5 / 5 ** (k // 2) for k in range(len(adaptive))])
    assert adaptive[-1] / 5 <= 1e-6 < adaptive[-1]


def test_the_rate_stays_and_falls() -> None:
    half = 0.5 * (1 + np.cos(np.pi * np.arange(20) / 20)) / 2
    assert rates("cosine", 40) == pytest.approx([0.5] * 20 + list(half))
    assert rates("cosine", 1) == [0.5]
    fall = 0.5 * (1 + np.cos(np.pi * np.arange(30) / 30)) / 2
    stalled = [0.5] * 30 + list(fall)
    for epochs in (100, 1000):
        assert rates("cosine", epochs, stalls=(30, 35)) == pytest.approx(stalled)
    assert len(rates("cosine", 100, stalls=(5,))) == 5 + SHORTEST_FALL


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_attributes_of_a_fit(name: str) -> None:
    x, y = (load_diabetes if name == "MLPRegressor" else load_iris)(return_X_y=True)
    model = PAIRS[name][1](hidden_layer_sizes=(5, 4), max_iter=6, random_state=0).fit(x, y)
    assert model.n_layers_ == 4 and [w.shape for w in model.coefs_[1:-1]] == [(5, 4)]
    assert model.n_outputs_ == model.intercepts_[-1].size == (1 if name == "MLPRegressor" else 3)
    assert model.out_activation_ == ("identity" if name == "MLPRegressor" else "softmax")
    assert model.n_iter_ == len(model.loss_curve_) == 6 and model.t_ == 6 * len(x)
    assert model.loss_ == model.loss_curve_[-1] and model.best_loss_ == min(model.loss_curve_)
    assert model.validation_scores_ is None and model.best_validation_score_ is None
    model.set_params(early_stopping=True).fit(x, y)
    assert len(model.validation_scores_) == len(model.validation_loss_curve_) == model.n_iter_
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert model.best_loss_ is None
    assert not hasattr(model.set_params(solver="lbfgs"), "partial_fit")
    model.set_params(solver="sgd")
    with pytest.raises(ValueError, match="early_stopping: partial_fit does not support"):
        model.partial_fit(x, y)


@pytest.mark.parametrize("name", ["SGDRegressor", "MLPRegressor"])
@pytest.mark.parametrize("learning_rate", ["found", 0.01])
def test_partial_fits_of_numbers_go_on(name: str, learning_rate: Any) -> None:
    x, y = load_diabetes(return_X_y=True)
    x /= x.std(0)
    if learning_rate != "found":
        y = y / y.std()
    rate = {"eta0": learning_rate, "learning_rate": "constant"}
    if name == "MLPRegressor":
        rate = {"learning_rate_init": learning_rate}
    model = PAIRS[name][1](random_state=0, **({} if learning_rate == "found" else rate))
    for _ in range(30):
        model.partial_fit(x[:200], y[:200]).partial_fit(x[200:], y[200:])
    assert model.n_iter_ == len(model.loss_curve_) == 60 and model.t_ == 30 * len(x)
    assert model.score(x, y) > 0.3
    loss = PAIRS[name][1](random_state=0, max_iter=30).fit(x, y).partial_fit(x, y).loss_
    assert loss < np.var(y) / 2


@pytest.mark.parametrize("columns", [(1, 2), (2, 1), (2, 3)])
def test_as_many_numbers_a_row_as_before(columns: tuple[int, int]) -> None:
    x, before, after = np.eye(40), *(np.eye(40)[:, :count] for count in columns)
    message = rf"^y: expected shape \(40, {columns[0]}\), .* got \(40, {columns[1]}\)$"
    model = ours.MLPRegressor(max_iter=2, warm_start=True)
    for go_on in (model.partial_fit, model.fit):
        go_on(x, before)
        with pytest.raises(ValueError, match=message):
            go_on(x, after)
    assert model.predict(x).size == 40 * columns[0]


@pytest.mark.parametrize("losses", [("hinge", "log_loss"), ("log_loss", "hinge")])
def test_two_classes_go_on_with_their_loss(losses: tuple[str, str]) -> None:
    x, y = np.eye(40), np.arange(40) % 2
    model = ours.SGDClassifier(losses[0], max_iter=2, warm_start=True).fit(x, y)
    model.set_params(loss=losses[1])
    for go_on in (model.partial_fit, model.fit):
        with pytest.raises(ValueError, match=f"^loss: expected that of .* got '{losses[1]}'$"):
            go_on(x, y)


def test_labels_in_the_message_of_a_split() -> None:
    with pytest.raises(ValueError, match=r"least populated class.*"):
        ours.MLPClassifier(early_stopping=True).fit(np.eye(4), ["a", "a", "a", "b"])


@pytest.mark.parametrize("name", ["LogisticRegression", "SGDClassifier", "MLPClassifier"])
def test_one_class_is_refused_where_theirs_is(name: str) -> None:
    x, y = np.ones((20, 2)), np.full(20, 7)
    theirs = sklearn.neural_network if name == "MLPClassifier" else sklearn.linear_model
    refused = []
    for module in (theirs, ours):
        model = getattr(module, name)(max_iter=300)
        try:
            assert (model.fit(x, y).predict(x) == 7).all()
        except ValueError as error:
            refused.append(str(error))
    assert len(refused) in (0, 2)
    if refused:
        assert refused[1].startswith("y: expected 2 classes or more, got one class: ")


def test_one_class_is_refused_in_parts() -> None:
    model = ours.SGDClassifier()
    with pytest.raises(ValueError, match="y: expected 2 classes or more"):
        model.partial_fit(np.ones((3, 2)), np.ones(3), classes=[1])
    assert not hasattr(model, "coef_")
