"""squared_error, its gradient, and l2_penalty."""

from typing import Any

import numpy as np
import pytest

import softstep as ss
from tests import reference as ref
from tests.support.cases import DTYPES, assert_within, roundoff

SIZES = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 1000, 1025, 100_003]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_every_size(isa: str, rng: np.random.Generator, reduction: str, dtype: Any) -> None:
    unit = roundoff(dtype)
    for size in SIZES:
        predictions, target = rng.normal(size=(2, size)).astype(dtype)
        expected, slope = ref.squared_error_with_grad(predictions, target, reduction=reduction)
        loss, gradient = ss.squared_error_with_grad(predictions, target, reduction=reduction)
        alone = ss.squared_error(predictions, target, reduction=reduction)
        np.testing.assert_array_equal(alone, loss)
        # The difference is one rounding, the square another, and no term is negative.
        assert_within(loss, expected, unit * np.abs(expected), dtype)
        assert gradient.dtype == dtype
        assert_within(gradient, slope, unit * np.abs(slope))
        assert isinstance(loss, float) is (reduction != "none")


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_shape_and_in_place(isa: str, rng: np.random.Generator, dtype: Any) -> None:
    for shape in [(), (5,), (3, 4), (2, 3, 4), (0,), (0, 3)]:
        predictions, target = rng.normal(size=(2, *shape)).astype(dtype)
        predictions, target = np.asarray(predictions), np.asarray(target)
        for reduction in ("none", "sum", "mean"):
            loss, gradient = ss.squared_error_with_grad(predictions, target, reduction=reduction)
            expected, _ = ref.squared_error_with_grad(predictions, target, reduction=reduction)
            assert_within(loss, expected, roundoff(dtype) * np.abs(expected), dtype)
            assert gradient.shape == shape
            buffer = predictions.copy()
            _, same = ss.squared_error_with_grad(buffer, target, reduction=reduction, out=buffer)
            assert same is buffer
            np.testing.assert_array_equal(buffer, gradient)


def test_values_by_hand(isa: str) -> None:
    loss, gradient = ss.squared_error_with_grad(np.array([1.0, 2, 3]), np.array([1.0, 0, 6]))
    assert loss == pytest.approx(13 / 3, rel=1e-15)
    np.testing.assert_allclose(gradient, [0, 4 / 3, -2], rtol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
def test_special_values(isa: str, dtype: Any) -> None:
    for size in (1, 5, 16, 33):
        for at in {0, size // 2, size - 1}:
            for value in (np.nan, np.inf, -np.inf, np.finfo(dtype).max):
                predictions, target = np.zeros(size, dtype), np.zeros(size, dtype)
                predictions[at] = value
                losses, gradient = ss.squared_error_with_grad(predictions, target, reduction="none")
                expected, slope = ref.squared_error_with_grad(predictions, target, reduction="none")
                assert_within(losses, expected, 0)
                assert_within(gradient, slope, 0)
                mean = ss.squared_error(predictions, target)
                # A float can hold the square of the largest float32.
                assert np.isnan(mean) if np.isnan(value) else mean > 1e38 / size


def test_errors_name_the_argument() -> None:
    x = np.zeros((2, 3))
    for function in (ss.squared_error, ss.squared_error_with_grad):
        with pytest.raises(ValueError, match=r"^target: expected shape \(2, 3\), got \(3,\)"):
            function(x, np.zeros(3))  # no broadcasting
        with pytest.raises(TypeError, match=r"^predictions: expected .*float32.*got float16"):
            function(x.astype(np.float16), x)
        with pytest.raises(TypeError, match=r"^target: expected float64, got float32"):
            function(x, x.astype(np.float32))
        with pytest.raises(ValueError, match=r"^reduction: expected .*mean.*got .?average"):
            function(x, x, reduction="average")
    with pytest.raises(ValueError, match=r"^out: expected shape \(2, 3\), got \(3, 2\)"):
        ss.squared_error_with_grad(x, x, out=np.zeros((3, 2)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_l2_penalty(isa: str, rng: np.random.Generator, dtype: Any) -> None:
    arrays = [rng.normal(size=size).astype(dtype) for size in [*SIZES, (3, 4, 5), 0, ()]]
    arrays = [np.asarray(a) for a in arrays]
    for array in arrays:
        expected = ref.l2_penalty(array, 0.1)
        penalty = ss.l2_penalty(array, 0.1)
        assert isinstance(penalty, float)
        assert penalty == pytest.approx(expected, rel=roundoff(dtype), abs=0)
    strided = [a[::2] if a.ndim else a for a in arrays]
    for group in (arrays, tuple(arrays), strided):
        assert ss.l2_penalty(group, 3.0) == pytest.approx(
            ref.l2_penalty(group, 3.0), rel=roundoff(dtype)
        )
    assert ss.l2_penalty([], 1.0) == 0
    assert ss.l2_penalty(arrays, 0.0) == 0
    mixed = [np.ones(3, np.float32), np.ones(2, np.float64)]
    assert ss.l2_penalty(mixed, 2.0) == 10
