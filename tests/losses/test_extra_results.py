"""cross_entropy: extra results, smoothing, softcap, z-loss, empty means, error texts."""

from typing import Any

import numpy as np
import pytest

import softstep as ss
from tests.support.cases import DTYPES
from tests.support.cross_entropy_check import check, extras_for

# One row per lane, and the classes along the lanes.
CLASSES = [5, 40]


def call_of(rng: Any, kind: str, rows: int, classes: int, dtype: Any = np.float64) -> Any:
    """(logits, options with the target, index of a row that is to be ignored)."""
    x = rng.normal(scale=3, size=(rows, classes)).astype(dtype)
    if kind == "classes":
        return x, {"target": rng.integers(0, classes, rows)}
    if kind == "probabilities":
        return x, {"target": rng.uniform(size=x.shape).astype(dtype)}
    index = rng.integers(0, classes, (rows, 3))
    return x, {"target": index, "target_probabilities": rng.uniform(size=(rows, 3)).astype(dtype)}


@pytest.mark.parametrize("reduction", ["none", "sum", "mean", "denominator"])
@pytest.mark.parametrize("kind", ["classes", "probabilities", "sparse"])
def test_each_result_alone(isa: str, rng: np.random.Generator, kind: str, reduction: str) -> None:
    """Alone, together, and with the z-loss weighted by class and by row."""
    how: dict[str, Any] = {"reduction": reduction}
    if reduction == "denominator":
        how = {"denominator": 3.0}
    for dtype in (*DTYPES, np.float16):
        for classes in CLASSES:
            x, options = call_of(rng, kind, 7, classes, np.float32)
            x = x.astype(dtype)
            options |= {"z_loss": 0.02, "label_smoothing": 0.1, "temperature": 1.7, **how}
            options["weight"] = rng.uniform(0.5, 2, classes).astype(np.float32)
            options["sample_weight"] = rng.uniform(0.5, 2, 7).astype(np.float32)
            names = extras_for(options["target"], options)
            for wanted in (*((name,) for name in names), names):
                check(x, extra=wanted, **options)


@pytest.mark.parametrize("kind", ["classes", "probabilities", "sparse"])
@pytest.mark.parametrize("classes", CLASSES)
def test_ignored_rows(isa: str, rng: np.random.Generator, kind: str, classes: int) -> None:
    """Rows of weight 0 are never used, whatever the target: NaN, infinities, NaN probabilities."""
    x, options = call_of(rng, kind, 6, classes)
    options |= {"sample_weight": np.array([1.0, 0, 2, 0, 0, 1]), "z_loss": 0.1}
    options |= {"label_smoothing": 0.1, "weight": rng.uniform(0.5, 2, classes)}
    names = extras_for(options["target"], options)
    for reduction in ("none", "sum", "mean"):
        check(x, extra=names, reduction=reduction, **options)
        clean = ss.cross_entropy_with_grad(x, extra=names, reduction=reduction, **options)
        dirty, bad = x.copy(), dict(options)
        dirty[1], dirty[3], dirty[4] = np.nan, -np.inf, np.inf
        for name in ("target", "target_probabilities"):
            if name in bad and bad[name].dtype.kind == "f":
                bad[name] = bad[name].copy()
                bad[name][1] = np.nan
        results = ss.cross_entropy_with_grad(dirty, extra=names, reduction=reduction, **bad)
        np.testing.assert_array_equal(results[0], clean[0])
        np.testing.assert_array_equal(results[1], clean[1])
        for name in names:
            np.testing.assert_array_equal(results[2][name], clean[2][name], err_msg=name)
    assert (clean[2]["argmax"][[1, 3, 4]] == -1).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("classes", [1, 2, 3, 17, 64, 65, 300, 5000])
def test_argmax_of_a_nan_is_the_first(
    isa: str, rng: np.random.Generator, dtype: Any, classes: int
) -> None:
    x = rng.normal(size=(40, classes)).astype(dtype)
    for row in x[1:]:
        row[rng.integers(0, classes, rng.integers(0, 4))] = np.nan
        row[rng.integers(0, classes, rng.integers(0, 3))] = rng.choice([np.inf, -np.inf, 60000])
    expected = np.argmax(x.astype(np.float64), axis=1)
    target = np.where(np.arange(40) % 2, expected, 0)
    for layout in (x, np.asfortranarray(x)):
        for with_gradient in (False, True):
            call = ss.cross_entropy_with_grad if with_gradient else ss.cross_entropy
            results = call(layout, target, extra=["argmax", "correct"])[-1]
            np.testing.assert_array_equal(results["argmax"], expected)
            assert results["correct"] == (expected == target).sum()


def test_correct_with_an_ignored_class_of_minus_1(isa: str) -> None:
    x = np.eye(4)
    options = {"ignore_index": -1, "extra": ("correct", "argmax")}
    _, results = ss.cross_entropy(x, np.array([0, 1, -1, 2]), **options)
    assert results["correct"] == 2 and isinstance(results["correct"], int)
    np.testing.assert_array_equal(results["argmax"], [0, 1, -1, 3])
    _, results = ss.cross_entropy(np.zeros((2, 40)), np.array([0, 1]), extra="argmax")
    np.testing.assert_array_equal(results["argmax"], [0, 0])  # the first of the largest


@pytest.mark.parametrize("classes", CLASSES)
def test_masked_rows(isa: str, classes: int) -> None:
    """Of a row of -inf the lse is that of logsumexp; a certain row has the entropy 0."""
    x = np.full((3, classes), -np.inf)
    x[1:, 1] = [0, 3]
    options = {"extra": ("lse", "entropy"), "reduction": "none"}
    _, results = ss.cross_entropy(x, np.ones(3, int), **options)
    np.testing.assert_array_equal(results["lse"], ss.logsumexp(x))
    np.testing.assert_array_equal(results["entropy"], ss.entropy(x))
    assert results["entropy"][1] == 0


@pytest.mark.parametrize("classes", [2, 5, 40])
@pytest.mark.parametrize("dtype", DTYPES)
def test_smoothing_beside_masked_classes(isa: str, dtype: Any, classes: int) -> None:
    """Finite where mass is allowed only; infinite, never NaN, where a masked class has some."""
    x = np.zeros((3, classes), dtype)
    x[:, 0] = -np.inf
    x[1] = -1.5
    target = np.array([1, 1, 0])
    for eps in (0.1, 0.6, 1.0):
        for how in ("uniform", "exclude_target", "allowed"):
            options = {"label_smoothing": eps, "smoothing": how, "reduction": "none"}
            check(x, target, extra=("lse", "entropy", "target_log_prob"), **options)
        loss = ss.cross_entropy(x, target, label_smoothing=eps, smoothing="allowed")
        assert np.isfinite(loss) == (eps == 1)
        loss = ss.cross_entropy(x[:2], target[:2], label_smoothing=eps, smoothing="allowed")
        assert np.isfinite(loss)


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("dtype", [*DTYPES, np.float16])
def test_softcap(isa: str, rng: np.random.Generator, dtype: Any, classes: int) -> None:
    """Large and infinite logits are capped, -inf stays masked, the slope falls to 0."""
    x = rng.normal(scale=20, size=(6, classes)).astype(dtype)
    x[0, :2] = [60000, -60000]
    x[1, 0] = np.inf
    x[2, 1:] = -np.inf
    x[3, 2] = -np.inf
    x[4] = np.linspace(-1e-3, 1e-3, classes)
    for softcap in (0.5, 5.0, 50.0, 1e4):
        for temperature in (1.0, 0.3):
            options = {"softcap": softcap, "temperature": temperature}
            check(x, np.zeros(6, int), reduction="none", extra=("lse", "entropy"), **options)
    _, gradient = ss.cross_entropy_with_grad(x, np.zeros(6, int), softcap=0.5)
    assert gradient[1, 0] == 0 and (gradient[2, 1:] == 0).all()


@pytest.mark.parametrize("softcap", [1e-50, 1e300])
def test_softcaps_float32_cannot_hold(isa: str, softcap: float) -> None:
    """An error, or the right loss; not a NaN and not another cap."""
    x = np.array([[5.0, 0, 1]], np.float32)
    try:
        loss = ss.cross_entropy(x, np.array([0]), softcap=softcap)
    except ValueError as error:
        assert str(error).startswith("softcap: expected")
    else:
        expected = np.log(3) if softcap < 1 else ss.cross_entropy(x, np.array([0]))
        assert loss == pytest.approx(expected, rel=1e-6)


def test_integer_logits_have_float_gradients(isa: str) -> None:
    x, q = [[1, 2, 3], [3, 0, 1]], np.array([[0.1, 0.2, 0.7], [1, 0, 0]])
    for target in (q, np.array([2, 1])):
        names = extras_for(target, {})
        expected = ss.cross_entropy_with_grad(np.array(x, float), target, extra=names)[2]
        for results in (
            ss.cross_entropy_with_grad(x, target.tolist(), extra=names)[2],
            ss.cross_entropy(np.array(x, np.int16), target, extra=names)[1],
        ):
            for name in names:
                np.testing.assert_array_equal(results[name], expected[name], err_msg=name)


@pytest.mark.parametrize("kind", ["classes", "probabilities", "sparse"])
def test_empty_means(isa: str, rng: np.random.Generator, kind: str) -> None:
    """Over no rows, over ignored ones, over classes of weight 0: gradients 0 of every kind."""
    for rows, weight in [(0, None), (4, np.zeros(4))]:
        x, options = call_of(rng, kind, rows, 5)
        options["sample_weight"] = weight
        names = extras_for(options["target"], options)
        for empty, expected in [("nan", np.nan), ("zero", 0.0)]:
            loss, gradient, results = ss.cross_entropy_with_grad(
                x, extra=names, empty=empty, z_loss=0.1, **options
            )
            np.testing.assert_equal(loss, expected)
            assert not gradient.any()
            for name in {"dtemperature", "dweight", "dtarget", "z_loss"} & set(names):
                assert not np.any(results[name]), name
        with pytest.raises(ValueError, match=r"^target: the mean is over no rows"):
            ss.cross_entropy(x, empty="raise", **options)


WRONG = [
    ({"smoothing": "others"}, ValueError, r"^smoothing: expected 'uniform', 'excl.*got 'others'"),
    ({"smoothing": None}, (TypeError, ValueError), r"^smoothing: expected .*None"),
    ({"softcap": -1.0}, ValueError, r"^softcap: expected a finite number above 0 .*got -1\.0"),
    ({"softcap": 0.0}, ValueError, r"^softcap: expected a finite number above 0 .*got 0\.0"),
    ({"softcap": np.nan}, ValueError, r"^softcap: expected .*got nan"),
    ({"softcap": np.inf}, ValueError, r"^softcap: expected .*got inf"),
    ({"softcap": "5"}, TypeError, r"^softcap: expected a number, got str"),
    ({"z_loss": -0.1}, ValueError, r"^z_loss: expected .*at least 0, got -0\.1"),
    ({"extra": ("lse", "nll")}, ValueError, r"^extra: expected names among lse, .*got 'nll'"),
    ({"extra": "probabilities"}, ValueError, r"^extra: expected names .*got 'probabilities'"),
    ({"extra": ("dtarget",)}, ValueError, r"^extra: 'dtarget' needs probability targets"),
    ({"extra": 5}, TypeError, r"^extra: expected .*got int"),
    ({"denominator": 2.0, "reduction": "sum"}, ValueError, r"^denominator: only .*mean"),
    ({"target_probabilities": np.ones((3, 4))}, ValueError, r"^target: expected \(3,\) and a last"),
    (
        {"target": np.ones((3, 4)), "smoothing": "exclude_target"},
        ValueError,
        r"^smoothing: .*class",
    ),
    ({"target": np.ones((3, 4)), "extra": "correct"}, ValueError, r"^extra: 'correct' needs class"),
    ({"target": np.ones((3, 4)), "extra": "target_log_prob"}, ValueError, r"^extra: 'target_log_p"),
]


@pytest.mark.parametrize("change, error, message", WRONG)
def test_errors(change: dict[str, Any], error: Any, message: str) -> None:
    arguments = {"logits": np.zeros((3, 4)), "target": np.zeros(3, int), **change}
    for call in (ss.cross_entropy, ss.cross_entropy_with_grad):
        with pytest.raises(error, match=message):
            call(**arguments)
