"""The loss object beside scikit-learn's own."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("softstep.sklearn", exc_type=ImportError)
import sklearn._loss.loss as theirs_module

from softstep.sklearn import HalfMultinomialLoss

N, CLASSES = 37, 7
OURS = HalfMultinomialLoss(n_classes=CLASSES)
THEIRS = theirs_module.HalfMultinomialLoss(n_classes=CLASSES)


def problem(dtype: Any, order: str = "C") -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(0)
    raw = np.asarray(rng.normal(scale=5, size=(N, CLASSES)), dtype, order=order)
    weights = rng.random(N).astype(dtype)
    weights[3] = 0
    return rng.integers(0, CLASSES, N).astype(dtype), raw, weights


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_results(dtype: Any, order: str, weighted: bool) -> None:
    y, raw, weights = problem(dtype, order)
    arguments = {"y_true": y, "raw_prediction": raw, "sample_weight": weights if weighted else None}
    # A few roundings of numbers up to the largest logit, about 20.
    bound = 64 * np.finfo(dtype).eps
    for name in ("loss", "gradient", "loss_gradient", "gradient_proba", "gradient_hessian"):
        ours, theirs = (getattr(loss, name)(**arguments) for loss in (OURS, THEIRS))
        for a, b in zip(
            *(x if isinstance(x, tuple) else (x,) for x in (ours, theirs)), strict=True
        ):
            assert a.dtype == b.dtype and a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=bound, atol=bound, err_msg=name)
    assert np.isclose(OURS(**arguments), THEIRS(**arguments), rtol=bound)


@pytest.mark.parametrize("out_dtype", [np.float64, np.float32])
@pytest.mark.parametrize("order", ["C", "F"])
def test_results_are_written_where_asked(out_dtype: Any, order: Any) -> None:
    y, raw, weights = problem(np.float64)
    loss, gradient = np.full(N, 9, out_dtype), np.full((N, CLASSES), 9, out_dtype, order=order)
    proba = gradient.copy(order="K")
    result = OURS.loss_gradient(y, raw, weights, loss_out=loss, gradient_out=gradient)
    assert result[0] is loss and result[1] is gradient
    expected = THEIRS.loss_gradient(y, raw, weights)
    for ours, theirs in zip(result, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
    gradient[...] = 9
    pair = OURS.gradient_proba(y, raw, weights, gradient_out=gradient, proba_out=proba, n_threads=2)
    assert pair[0] is gradient and pair[1] is proba
    for ours, theirs in zip(pair, THEIRS.gradient_proba(y, raw, weights), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
    assert OURS.loss(y, raw, loss_out=loss) is loss
    assert OURS.gradient(y, raw, gradient_out=gradient) is gradient


@pytest.mark.parametrize("given", ["loss_out", "gradient_out"])
def test_the_dtype_of_the_result_that_has_no_place(given: str) -> None:
    y, raw, _ = problem(np.float64)
    out = {"loss_out": np.empty(N, np.float32), "gradient_out": np.empty(raw.shape, np.float32)}
    ours, theirs = (loss.loss_gradient(y, raw, **{given: out[given]}) for loss in (OURS, THEIRS))
    assert [a.dtype for a in ours] == [a.dtype for a in theirs]


def test_what_is_inherited() -> None:
    y, raw, weights = problem(np.float64)
    assert isinstance(OURS, theirs_module.HalfMultinomialLoss)
    assert OURS.in_y_true_range(y) and not OURS.in_y_true_range(y + 0.5)
    np.testing.assert_array_equal(
        OURS.fit_intercept_only(y, weights), THEIRS.fit_intercept_only(y, weights)
    )
    np.testing.assert_array_equal(OURS.predict_proba(raw), THEIRS.predict_proba(raw))
    assert OURS.n_classes == CLASSES


def test_a_solver_of_scikit_learn_takes_it() -> None:
    linear = pytest.importorskip("sklearn.linear_model._linear_loss")
    rng = np.random.default_rng(1)
    y, _, weights = problem(np.float64)
    x, coef = rng.normal(size=(N, 3)), rng.normal(size=(CLASSES, 4))
    results = [
        linear.LinearModelLoss(base_loss=loss, fit_intercept=True).loss_gradient(
            coef, x, y, sample_weight=weights, l2_reg_strength=0.1
        )
        for loss in (OURS, THEIRS)
    ]
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-13)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-12, atol=1e-15)


def test_labels_outside_are_refused() -> None:
    with pytest.raises(IndexError, match="7"):
        OURS.loss(np.full(N, 7.0), np.zeros((N, CLASSES)))
