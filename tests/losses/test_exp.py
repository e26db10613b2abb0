"""Accuracy of the vector mathematics in ULP, through the private hooks of the extension."""

from typing import Any

import numpy as np
import pytest

from softstep import _core
from tests.support.bounds import EXP_ULP, LOG1P_ULP, LOG_ULP, TANH_SLOPE_ULP, TANH_ULP
from tests.support.cases import DTYPES
from tests.support.ulp import tanh_slope, ulp_error

# The bounds of cpp/kernels/coefficients.hpp. Without FMA (x86_64_v2) the last steps round twice.
UNDERFLOW = {np.float32: -87.3, np.float64: -708.3}  # log of the smallest normal number, rounded up


def bit_patterns(first: float, last: float, count: int) -> Any:
    """About `count` float32 values, evenly spaced in their bits from |first| to |last|."""
    low, high = np.array([first, last], np.float32).view(np.uint32).tolist()
    step = (high - low) // count
    bits = np.arange(low, high, step, dtype=np.uint32)
    assert bits.size >= count
    return bits.view(np.float32)


def check(function: Any, exact: Any, x: Any, limit: float) -> None:
    y = function(x)
    assert y.dtype == x.dtype and y.shape == x.shape
    wide = x.astype(np.float64 if x.dtype == np.float32 else np.longdouble)
    error = ulp_error(y, exact(wide))
    worst = int(error.argmax())
    assert error[worst] <= limit, f"{error[worst]:.3f} ULP at {x[worst]!r}: {y[worst]!r}"


def test_exp_float32_sweep(isa: str) -> None:
    x = -bit_patterns(0.0, 87.3, 2_000_000)
    check(_core.exp, np.exp, x, EXP_ULP[np.float32])


def test_exp_float64_random(isa: str, rng: np.random.Generator) -> None:
    uniform = -rng.uniform(0, 708.3, 700_000)
    small = -(2.0 ** rng.uniform(-60, 9.4, 300_000))
    check(_core.exp, np.exp, np.concatenate([uniform, small]), EXP_ULP[np.float64])


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_special_values(isa: str, dtype: Any) -> None:
    x = np.array([0.0, -0.0, -np.inf, np.nan, -1e-30, np.finfo(dtype).min], dtype)
    np.testing.assert_array_equal(_core.exp(x), np.array([1, 1, 0, np.nan, 1, 0], dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_below_the_smallest_normal_number(isa: str, dtype: Any) -> None:
    """Exactly 0 or a number that is too small to matter; never garbage from a wrapped exponent."""
    y = _core.exp(np.linspace(UNDERFLOW[dtype], 20 * UNDERFLOW[dtype], 200_001).astype(dtype))
    tiny = np.finfo(dtype).tiny
    assert (y >= 0).all() and (y <= 2 * tiny).all()
    assert (y[1000:] <= tiny).all() and (y[20_000:] == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_is_monotone(isa: str, dtype: Any) -> None:
    """Softmax keeps the order of the logits, across every boundary of the range reduction too."""
    ln2 = np.log(2)
    for k in range(0, 120):
        centre = dtype(-(k + 0.5) * ln2)
        x = centre + np.arange(-64, 65) * np.spacing(np.abs(centre))
        steps = np.diff(_core.exp(x.astype(dtype)).astype(np.float64))
        one_ulp = np.spacing(dtype(np.exp(np.float64(centre))))
        assert (steps >= -2 * one_ulp).all()


def test_log_float32_sweep(isa: str) -> None:
    tiny, huge = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
    check(_core.log, np.log, bit_patterns(tiny, huge, 2_000_000), LOG_ULP[np.float32])
    check(_core.log, np.log, bit_patterns(0.5, 2.0, 2_000_000), LOG_ULP[np.float32])


def test_log_float64_random(isa: str, rng: np.random.Generator) -> None:
    wide = 2.0 ** rng.uniform(-1022, 1023, 500_000)
    near_one = 1 + rng.uniform(-0.5, 1, 500_000) * 2.0 ** rng.uniform(-50, 0, 500_000)
    check(_core.log, np.log, np.concatenate([wide, near_one]), LOG_ULP[np.float64])


def test_log1p_float32_sweep(isa: str) -> None:
    tiny = float(np.finfo(np.float32).tiny)
    check(_core.log1p, np.log1p, bit_patterns(tiny, 1.0, 2_000_000), LOG1P_ULP[np.float32])


def test_log1p_float64_random(isa: str, rng: np.random.Generator) -> None:
    uniform, small = rng.uniform(0, 1, 500_000), 2.0 ** rng.uniform(-1022, 0, 500_000)
    check(_core.log1p, np.log1p, np.concatenate([uniform, small]), LOG1P_ULP[np.float64])


def test_tanh_float32_sweep(isa: str) -> None:
    tiny, huge = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
    for sign in (1, -1):
        x = sign * bit_patterns(tiny, huge, 1_000_000)
        check(_core.tanh, np.tanh, x, TANH_ULP[np.float32])
        x = sign * bit_patterns(0.0, -UNDERFLOW[np.float32] / 2, 1_000_000)
        check(_core.tanh_slope, tanh_slope, x, TANH_SLOPE_ULP[np.float32])


def test_tanh_float64_random(isa: str, rng: np.random.Generator) -> None:
    small = 2.0 ** rng.uniform(-1022, 0, 500_000)
    x = np.concatenate([rng.uniform(-20, 20, 500_000), small, -small])
    check(_core.tanh, np.tanh, x, TANH_ULP[np.float64])
    end = -UNDERFLOW[np.float64] / 2
    x = np.concatenate([rng.uniform(-end, end, 500_000), small, -small])
    check(_core.tanh_slope, tanh_slope, x, TANH_SLOPE_ULP[np.float64])


@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_special_values(isa: str, dtype: Any) -> None:
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, np.finfo(dtype).max], dtype)
    y = _core.tanh(x)
    np.testing.assert_array_equal(y, np.array([0, -0.0, 1, -1, np.nan, 1], dtype))
    np.testing.assert_array_equal(_core.tanh_slope(x), np.array([1, 1, 0, 0, np.nan, 0], dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_special_values(isa: str, dtype: Any) -> None:
    assert _core.log(np.array([1.0], dtype)).tolist() == [0.0]
    assert _core.log1p(np.array([0.0], dtype)).tolist() == [0.0]
    powers = 2.0 ** np.arange(-20, 21)
    expected = np.log(powers)
    error = np.abs(_core.log(powers.astype(dtype)) - expected)
    assert (error <= np.spacing(np.abs(expected).astype(dtype))).all()
    assert np.isnan(_core.log(np.array([np.nan], dtype))).all()
    assert np.isnan(_core.log1p(np.array([np.nan], dtype))).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_tail_of_an_array_is_computed_like_its_body(isa: str, dtype: Any) -> None:
    x = np.linspace(0.01, 0.99, 67).astype(dtype)
    arguments = {_core.exp: -x, _core.log: x, _core.log1p: x, _core.tanh: x, _core.tanh_slope: x}
    for function, argument in arguments.items():
        whole = function(argument)
        for size in range(68):
            np.testing.assert_array_equal(function(argument[:size].copy()), whole[:size])
