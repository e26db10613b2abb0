"""softmax_backward and log_softmax_backward: the formulas, and numerical derivatives."""

from typing import Any

import numpy as np
import pytest

import softstep as ss
from tests import reference as ref
from tests.support.bounds import softmax_backward
from tests.support.cases import DTYPES, SHAPES, assert_within, logits_for, roundoff

BACKWARD = ["softmax", "log_softmax"]
BLOCKED = [(17, 1), (17, 3), (33, 10), (5, 129), (3, 1041), (3, 20011)]


def inputs(
    rng: np.random.Generator, name: str, shape: tuple[int, ...], dtype: Any, axis: int = -1
) -> tuple[Any, Any]:
    y = getattr(ref, name)(logits_for(rng, shape, dtype), axis=axis).astype(dtype, order="C")
    return rng.normal(size=shape).astype(dtype), y


def check(
    rng: np.random.Generator, name: str, shape: tuple[int, ...], dtype: Any, **options: Any
) -> None:
    dy, y = inputs(rng, name, shape, dtype, options.get("axis", -1))
    actual = getattr(ss, f"{name}_backward")(dy, y, **options)
    expected = getattr(ref, f"{name}_backward")(dy, y, **options)
    assert actual.dtype == dtype
    assert_within(actual, expected, softmax_backward(f"{name}_backward", dy, y, **options))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BACKWARD)
def test_every_size(isa: str, rng: np.random.Generator, name: str, dtype: Any) -> None:
    for shape in SHAPES:
        check(rng, name, shape, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BACKWARD)
def test_every_axis_and_temperature(
    isa: str, rng: np.random.Generator, name: str, dtype: Any
) -> None:
    for shape in [(6,), (5, 9), (33, 10), (10, 33), (3, 10, 17), (2, 21, 64), (2, 3, 4, 5)]:
        for axis in range(-len(shape), len(shape)):
            for temperature in (0.5, 1.0, 20.0):
                check(rng, name, shape, dtype, axis=axis, temperature=temperature)


@pytest.mark.parametrize("name", BACKWARD)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_is_the_derivative_of_the_forward_function(
    isa: str, rng: np.random.Generator, name: str, temperature: float
) -> None:
    """Central differences of order 4, h = 1e-3: truncation h^4 and rounding eps / h are < 1e-9."""
    forward, h = getattr(ss, name), 1e-3
    x, dy = rng.normal(size=(4, 6)), rng.normal(size=(4, 6))
    for axis in (0, 1):
        numerical = np.zeros_like(x)
        for at in np.ndindex(x.shape):
            for step, factor in [(-2, 1), (-1, -8), (1, 8), (2, -1)]:
                moved = x.copy()
                moved[at] += step * h
                y = forward(moved, axis=axis, temperature=temperature)
                numerical[at] += factor / (12 * h) * (dy * y).sum()
        y = forward(x, axis=axis, temperature=temperature)
        backward = getattr(ss, f"{name}_backward")
        actual = backward(dy, y, axis=axis, temperature=temperature)
        assert_within(actual, numerical, 1e-8)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BACKWARD)
def test_in_place_over_either_input(
    isa: str, rng: np.random.Generator, name: str, dtype: Any
) -> None:
    function = getattr(ss, f"{name}_backward")
    for shape in BLOCKED:
        for axis in (0, 1):
            dy, y = inputs(rng, name, shape, dtype, axis)
            expected = function(dy, y, axis=axis)
            over_dy, over_y = dy.copy(), y.copy()
            assert function(over_dy, y, axis=axis, out=over_dy) is over_dy
            assert function(dy, over_y, axis=axis, out=over_y) is over_y
            np.testing.assert_array_equal(over_dy, expected)
            np.testing.assert_array_equal(over_y, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_class_has_nearly_all(isa: str, dtype: Any) -> None:
    """The gradient there is made of the others' probabilities: 1 - p is 0."""
    for rows, classes in [(17, 2), (17, 3), (33, 10), (5, 129), (3, 1041), (3, 20011)]:
        for top in {0, classes // 2, classes - 1}:
            y = np.full((rows, classes), 2.0**-70, dtype)
            y[:, top] = 1
            dy = np.tile(np.resize(np.array([1, 0.5, -2, 4], dtype), classes), (rows, 1))
            expected = ((dy[:, [top]] - dy) * y).astype(np.float64).sum(axis=1)
            for axis in (0, 1):
                dx = ss.softmax_backward(*(a.T if axis == 0 else a for a in (dy, y)), axis=axis)
                actual = dx.T[:, top] if axis == 0 else dx[:, top]
                size = np.abs((dy[:, [top]] - dy) * y).astype(np.float64).sum(axis=1)
                assert_within(actual, expected, roundoff(dtype, classes) * size)
    # What is no probability follows the formula.
    np.testing.assert_array_equal(ss.softmax_backward(dtype([1, 1]), dtype([1, 1])), [-1, -1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_empty(isa: str, dtype: Any) -> None:
    for name in BACKWARD:
        for shape in [(0, 5), (3, 0), (0, 0), (2, 0, 3)]:
            nothing = np.empty(shape, dtype)
            assert getattr(ss, f"{name}_backward")(nothing, nothing.copy()).shape == shape


def test_a_nan_stays_in_its_row(isa: str) -> None:
    for name in BACKWARD:
        for classes in (3, 10, 33, 129):
            dy, y = np.ones((9, classes), np.float32), np.full((9, classes), 0.25, np.float32)
            clean = getattr(ss, f"{name}_backward")(dy, y)
            dy[4, classes // 2] = np.nan
            dx = getattr(ss, f"{name}_backward")(dy, y)
            assert np.isnan(dx[4]).all()
            np.testing.assert_array_equal(np.delete(dx, 4, 0), np.delete(clean, 4, 0))


def test_errors_name_the_argument() -> None:
    y = np.zeros((2, 3), np.float32)
    for name in BACKWARD:
        function = getattr(ss, f"{name}_backward")
        with pytest.raises(ValueError, match=r"^(dy|y): expected shape \(2, 3\), got \(2, 4\)"):
            function(np.zeros((2, 4), np.float32), y)
        with pytest.raises(ValueError, match=r"^(dy|y): expected shape .*, got .*"):
            function(np.zeros(3, np.float32), y)  # no broadcasting
        with pytest.raises(TypeError, match=r"^(dy|y): expected float\d\d, got float\d\d"):
            function(y.astype(np.float64), y)
        with pytest.raises(ValueError, match="axis"):
            function(y, y, axis=2)
        with pytest.raises(ValueError, match=r"^temperature: .*got "):
            function(y, y, temperature=0.0)
