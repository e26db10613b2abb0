"""Sums and means over little or nothing, and sums of weights of any size."""

from typing import Any

import numpy as np
import pytest

from tests import reference as ref
from tests.conformance.front_ends import Lacks, Result
from tests.conformance.means import MEANS
from tests.support.cases import roundoff

ROWS, CLASSES = 3, 5
X = np.linspace(-2, 2, ROWS * CLASSES).reshape(ROWS, CLASSES) % 1.7
T = np.array([4, 0, 2])
Q = np.full((ROWS, CLASSES), 1 / CLASSES)
NOTHING = np.full(ROWS, -100)
NO_WEIGHT = {"sample_weight": np.zeros(ROWS)}

# name: logits, target, options. Nothing counts:
OVER_NOTHING: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "all ignored": (X, NOTHING, {}),
    "all ignored, NaN in the logits": (X * np.nan, NOTHING, {"weight": np.ones(CLASSES)}),
    "all of weight 0": (X, T, NO_WEIGHT),
    "all of weight 0, probabilities": (X, Q, NO_WEIGHT),
    "classes of weight 0": (X, T, {"weight": np.array([0.0, 1, 0, 1, 0])}),
    "no rows": (X[:0], T[:0], {}),
    "no rows, weights": (X[:0], T[:0], {"weight": np.ones(CLASSES), "sample_weight": np.ones(0)}),
    "no rows, probabilities": (X[:0], Q[:0], {}),
}
OVER_LITTLE: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "one class": (X[:, :1], 0 * T, {"weight": np.ones(1), "z_loss": 0.1}),
    "one row": (X[:1], T[:1], {"label_smoothing": 0.1}),
    "one row that counts": (X, np.where(T == 2, T, -100), {"weight": np.arange(1.0, 6)}),
    "large weights of rows": (X, T, {"sample_weight": np.array([1, 2, 0.5]) * 1e36}),
    "large weights of classes": (X, T, {"weight": np.arange(1, 6) * 1e36}),
    "large weights, probabilities": (X, Q, {"weight": np.arange(1, 6) * 1e36}),
    "small weights of rows": (X, T, {"sample_weight": np.array([1, 2, 0.5]) * 1e-33}),
    "small weights of classes": (X, T, {"weight": np.arange(1, 6) * 1e-33}),
    "small weights, probabilities": (X, Q, {"sample_weight": np.array([1, 2, 0.5]) * 1e-33}),
}


def run(front_end: Any, dtype: Any, x: Any, target: Any, options: dict[str, Any]) -> Result:
    narrow = {k: v.astype(dtype) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    target = target if target.dtype.kind == "i" else target.astype(dtype)
    try:
        loss, gradient = front_end(x.astype(dtype), target, **narrow)
    except Lacks as lack:
        pytest.skip(str(lack))
    return np.asarray(loss, np.float64), np.asarray(gradient, np.float64)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OVER_NOTHING)
@pytest.mark.parametrize("front_end", MEANS)
def test_over_nothing(front_end: Any, name: str, dtype: Any) -> None:
    x, target, options = OVER_NOTHING[name]
    losses = {"sum": 0.0, "mean": np.nan}
    for reduction, expected in losses.items():
        loss, gradient = run(front_end, dtype, x, target, {**options, "reduction": reduction})
        np.testing.assert_array_equal(loss, expected)
        np.testing.assert_array_equal(gradient, np.zeros(x.shape))
    loss, gradient = run(front_end, dtype, x, target, {**options, "empty": "zero"})
    assert loss == 0 and not gradient.any()
    with pytest.raises(ValueError, match="target: the mean is over no rows"):
        run(front_end, dtype, x, target, {**options, "empty": "raise"})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OVER_LITTLE)
@pytest.mark.parametrize("front_end", MEANS)
def test_over_little(front_end: Any, name: str, dtype: Any) -> None:
    x, target, options = OVER_LITTLE[name]
    for reduction in ("sum", "mean"):
        given = {**options, "reduction": reduction}
        loss, gradient = run(front_end, dtype, x, target, given)
        exact = ref.cross_entropy_results(x.astype(dtype), target, **given)
        unit = 16 * roundoff(dtype, CLASSES)
        slope = exact["dlogits"]
        assert abs(loss - exact["loss"]) <= unit * abs(exact["loss"])
        assert (np.abs(gradient - slope) <= unit * np.abs(slope).max(initial=0)).all()


@pytest.mark.parametrize("front_end", MEANS)
def test_without_classes(front_end: Any) -> None:
    """Probabilities that are none have no loss; a class target is out of range."""
    if "shards" in front_end.__name__:
        pytest.skip("the shards of the adapter are not empty")
    nothing = X[:, :0]
    for reduction in ("sum", "mean"):
        loss, gradient = run(front_end, np.float32, nothing, nothing, {"reduction": reduction})
        assert loss == 0 and gradient.shape == nothing.shape
    if "jax" in front_end.__name__:  # a compiled program cannot raise
        assert np.isnan(run(front_end, np.float32, nothing, T, {"reduction": "sum"})[0])
        return
    with pytest.raises(IndexError, match=r"target: .*expected a class"):
        run(front_end, np.float32, nothing, T, {})
