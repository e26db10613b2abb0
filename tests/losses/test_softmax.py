"""softmax, log_softmax, logsumexp, entropy: values at every size, axis and temperature."""

from typing import Any

import numpy as np
import pytest

import softstep as ss
from tests import reference as ref
from tests.support.bounds import softmax_family as bound
from tests.support.cases import DTYPES, SHAPES, assert_within, logits_for, roundoff

FORWARD = ["softmax", "log_softmax", "logsumexp", "entropy"]
REDUCING = ["logsumexp", "entropy"]


def check(name: str, x: Any, **options: Any) -> None:
    actual = getattr(ss, name)(x, **options)
    assert actual.dtype == x.dtype
    assert_within(actual, getattr(ref, name)(x, **options), bound(name, x, **options))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FORWARD)
def test_every_size(isa: str, rng: np.random.Generator, name: str, dtype: Any) -> None:
    for shape in SHAPES:
        check(name, logits_for(rng, shape, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FORWARD)
def test_every_axis(isa: str, rng: np.random.Generator, name: str, dtype: Any) -> None:
    for shape in [(6,), (5, 9), (33, 10), (10, 33), (3, 10, 17), (2, 21, 64), (2, 3, 4, 5)]:
        x = logits_for(rng, shape, dtype)
        for axis in range(-x.ndim, x.ndim):
            check(name, x, axis=axis)


@pytest.mark.parametrize("inner", [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 1000])
@pytest.mark.parametrize("dtype", DTYPES)
def test_middle_axis_around_the_lanes(
    isa: str, rng: np.random.Generator, dtype: Any, inner: int
) -> None:
    for classes in (1, 2, 10, 100):
        x = logits_for(rng, (2, classes, inner), dtype)
        for name in FORWARD:
            check(name, x, axis=1)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0, 3.0, 1000.0])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FORWARD)
def test_temperature(
    isa: str, rng: np.random.Generator, name: str, dtype: Any, temperature: float
) -> None:
    for shape in [(7, 3), (7, 10), (5, 129)]:
        x = logits_for(rng, shape, dtype)
        for axis in (0, 1):
            check(name, x, axis=axis, temperature=temperature)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_sum_to_one_and_low_temperature_picks_the_maximum(isa: str, dtype: Any) -> None:
    x = np.array([[1, 3, 2], [0, -1, 5]], dtype)
    assert_within(ss.softmax(x).sum(axis=-1), [1, 1], 4 * roundoff(dtype))
    assert ss.softmax(x, temperature=1e-3).tolist() == [[0, 1, 0], [0, 0, 1]]
    assert_within(ss.softmax(x, temperature=1e9), np.full((2, 3), 1 / 3), 1e-8 + roundoff(dtype))


@pytest.mark.parametrize("classes", [2, 10, 33, 41, 1000])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_common_offset_costs_no_accuracy(
    isa: str, rng: np.random.Generator, dtype: Any, classes: int
) -> None:
    """Max + log(sum) first would lose the bits of the offset (pytorch#11752)."""
    x = rng.integers(-5, 5, (4, classes)).astype(dtype)
    for offset in (2.0**12, -(2.0**20)):
        shifted = x + dtype(offset)
        for name in ("softmax", "log_softmax", "entropy"):
            assert_within(getattr(ss, name)(shifted), getattr(ref, name)(x), bound(name, x))


@pytest.mark.parametrize("classes", [1000, 2050, 20011])
@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_terms_add_up(isa: str, dtype: Any, classes: int) -> None:
    """A plain running sum rounds equal terms the same way each time: 1e-4 at 20 011 in float32.

    So long sums take stock on the way, and the error does not grow with the number of classes.
    """
    x = np.full((classes, 17), -2.3, dtype)
    x[0] = 0
    for axis, logits in [(0, x), (1, x.T.copy())]:
        for name in FORWARD:
            expected = getattr(ref, name)(logits, axis=axis)
            few = bound(name, logits, axis=axis) * roundoff(dtype) / roundoff(dtype, classes)
            assert_within(getattr(ss, name)(logits, axis=axis), expected, few)


@pytest.mark.parametrize("layout", ["classes_last", "classes_first"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_small_remainder(isa: str, dtype: Any, layout: str) -> None:
    """log1p of what the other classes add; log(1 + 2e-9) would be 0 in float32."""
    for gap in (5.0, 10.0, 20.0, 30.0):
        x = np.array([[0, -gap], [-gap, 0]], dtype)
        x, axis = (x, 1) if layout == "classes_last" else (x.T.copy(), 0)
        remainder = np.log1p(np.exp(-gap))
        assert_within(ss.logsumexp(x, axis=axis), [remainder] * 2, 40 * roundoff(dtype) * remainder)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", REDUCING)
def test_keepdims(isa: str, rng: np.random.Generator, name: str, dtype: Any) -> None:
    x = logits_for(rng, (3, 5, 7), dtype)
    function = getattr(ss, name)
    for axis in (0, 1, 2, -1, -2):
        kept = function(x, axis=axis, keepdims=True)
        assert kept.shape == np.expand_dims(x.sum(axis=axis), axis).shape
        np.testing.assert_array_equal(kept.squeeze(axis), function(x, axis=axis))


@pytest.mark.parametrize("dtype", DTYPES)
def test_empty(isa: str, dtype: Any) -> None:
    for name in ("softmax", "log_softmax"):
        for shape in [(0, 5), (3, 0), (0, 0), (2, 0, 3), (0,)]:
            y = getattr(ss, name)(np.empty(shape, dtype))
            assert y.shape == shape and y.dtype == dtype
    for name in REDUCING:
        assert getattr(ss, name)(np.empty((0, 5), dtype)).shape == (0,)
        assert getattr(ss, name)(np.empty((4, 0, 5), dtype), axis=0).shape == (0, 5)
    np.testing.assert_array_equal(ss.logsumexp(np.empty((3, 0), dtype)), [-np.inf] * 3)
    np.testing.assert_array_equal(
        ss.logsumexp(np.empty((3, 0, 2), dtype), axis=1), [[-np.inf] * 2] * 3
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_in_place(isa: str, rng: np.random.Generator, name: str, dtype: Any) -> None:
    function = getattr(ss, name)
    for shape in [(5, 1), (5, 3), (17, 10), (5, 33), (5, 41), (3, 1041), (3, 20011)]:
        for axis in (0, 1):
            x = logits_for(rng, shape, dtype)
            expected = function(x.copy(), axis=axis)
            assert function(x, axis=axis, out=x) is x
            np.testing.assert_array_equal(x, expected)


def test_one_row_does_not_depend_on_its_neighbours(isa: str, rng: np.random.Generator) -> None:
    for classes in (3, 10, 33, 41, 1000):
        x = logits_for(rng, (37, classes), np.float32)
        for name in FORWARD:
            function = getattr(ss, name)
            whole = function(x)
            for first, last in [(0, 1), (5, 6), (3, 20), (20, 37)]:
                np.testing.assert_array_equal(function(x[first:last].copy()), whole[first:last])


def test_errors_name_the_argument() -> None:
    x = np.zeros((2, 3), np.float32)
    for name in FORWARD:
        function = getattr(ss, name)
        for axis in (2, -3):
            with pytest.raises(ValueError, match=f"axis.*{axis}"):
                function(x, axis=axis)
        for temperature in (0.0, -1.0, np.nan, np.inf, 1e-45):
            with pytest.raises(ValueError, match=r"^temperature: .*got "):
                function(x, temperature=temperature)
        for dtype in (np.complex64, np.longdouble, "U3"):
            with pytest.raises(TypeError, match=r"^(x|logits): .*float32.*got "):
                function(x.astype(dtype))
        with pytest.raises(TypeError):
            function(x, 0)  # axis is keyword-only
