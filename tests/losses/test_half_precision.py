"""float16 and bfloat16: computed and summed in float32 or wider, rounded once."""

from typing import Any

import numpy as np
import pytest

import softstep as ss
from tests import reference as ref
from tests.support.bounds import rounded_probabilities
from tests.support.cases import assert_within, roundoff
from tests.support.cross_entropy_check import check, half_ulp

ml_dtypes = pytest.importorskip("ml_dtypes")
bfloat16 = np.dtype(ml_dtypes.bfloat16)
HALVES = [np.dtype(np.float16), bfloat16]
EVERY = np.arange(1 << 16, dtype=np.uint16)  # all bit patterns
# (shape, axis): one row per lane, classes along the lanes, whole blocks, classes first or between.
SHAPES = [((17, 3), 1), ((33, 10), 1), ((9, 33), 1), ((5, 129), 1), ((2, 1041), 1), ((3, 1), 1)]
SHAPES += [((10, 33), 0), ((2, 7, 5, 3), 1), ((2, 40, 3), 1), ((7,), 0)]


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("classes", [1, 34])
def test_every_number_is_read_and_written_exactly(isa: str, dtype: Any, classes: int) -> None:
    """The logsumexp of one class is its logit; of masked ones too."""
    x = np.full((1 << 16, classes), -np.inf, dtype)
    x[:, classes // 2] = EVERY.view(dtype)
    wide = x[:, classes // 2].astype(np.float32)
    result = ss.logsumexp(x)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result.astype(np.float32), wide)
    _, extra = ss.cross_entropy(x, np.zeros(len(x), int), reduction="none", extra="lse")
    assert extra["lse"].dtype == np.float32
    some = wide != -np.inf  # a row of -inf is a test of its own
    np.testing.assert_array_equal(extra["lse"][some], wide[some])
    ones = ss.softmax(x)[:, classes // 2].astype(np.float32)
    np.testing.assert_array_equal(ones, np.where(np.isfinite(wide), 1, np.nan))


def near_every_number(dtype: Any) -> Any:
    """Each half number, the middle to the next, and float32's neighbours of both."""
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = EVERY.view(dtype).astype(np.float32)
        middle = numbers + 0.5 * ((EVERY + np.uint16(1)).view(dtype).astype(np.float32) - numbers)
        exact = np.concatenate([numbers, middle])
        up, down = (np.nextafter(exact, np.float32(end)) for end in (np.inf, -np.inf))
        largest = np.float32(np.finfo(np.float32).max)
        return np.concatenate([exact, up, down, [largest, -largest]]).astype(np.float32)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("classes", [2, 34])
def test_rounding_is_to_nearest_even(isa: str, dtype: Any, classes: int) -> None:
    """Where the target is -inf, the gradient of the other class is the row's weight itself."""
    values = near_every_number(dtype)
    values = values[(values != 0) & ~np.isinf(values)]  # weight 0: an ignored row
    x = np.full((len(values), classes), -np.inf, dtype)
    x[:, 0] = 0
    target = np.full(len(values), classes - 1)
    _, gradient = ss.cross_entropy_with_grad(x, target, sample_weight=values, reduction="sum")
    with np.errstate(over="ignore", invalid="ignore"):
        expected = values.astype(dtype).astype(np.float32)
    np.testing.assert_array_equal(gradient[:, 0].astype(np.float32), expected)
    np.testing.assert_array_equal(gradient[:, -1].astype(np.float32), -expected)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_cross_entropy(isa: str, rng: np.random.Generator, reduction: str, dtype: Any) -> None:
    for shape, axis in SHAPES:
        x = rng.normal(scale=3, size=shape).astype(dtype)
        classes, batch = shape[axis], np.delete(shape, axis)
        index = np.asarray(rng.integers(0, classes, batch))
        q = rng.uniform(size=shape)
        weight = rng.uniform(0.5, 2, classes).astype(np.float32)
        for target in (index, q.astype(dtype), q.astype(np.float32)):
            check(x, target, axis=axis, reduction=reduction)
            check(x, target, axis=axis, reduction=reduction, weight=weight, label_smoothing=0.1)


def test_weights_and_probabilities_of_any_float_dtype(isa: str, rng: np.random.Generator) -> None:
    """They are taken in the dtype of the computation."""
    floats = [np.float16, bfloat16, np.float32, np.float64]
    for shape in [(9, 5), (5, 40)]:
        weight, rows = rng.uniform(0.5, 2, shape[1]), rng.uniform(0.5, 2, shape[0])
        for dtype in floats:
            x = rng.normal(size=shape).astype(dtype)
            compute = np.float64 if dtype == np.float64 else np.float32
            for other in floats:
                q, w, s = (a.astype(other) for a in (rng.uniform(size=shape), weight, rows))
                loss, gradient = ss.cross_entropy_with_grad(x, q, weight=w, sample_weight=s)
                q, w, s = (a.astype(compute) for a in (q, w, s))
                same, slope = ss.cross_entropy_with_grad(x, q, weight=w, sample_weight=s)
                exact, exact_slope = ref.cross_entropy_with_grad(x, q, weight=w, sample_weight=s)
                assert loss == pytest.approx(same, rel=roundoff(compute, shape[1]))
                assert loss == pytest.approx(exact, rel=2 * roundoff(compute, shape[1]))
                # Sums of up to 40 terms of at most 2 * 2, divided by at least 5 * 0.5.
                bound = 64 * roundoff(compute, shape[1]) + half_ulp(exact_slope, dtype)
                assert_within(gradient.astype(compute), exact_slope, bound)
                assert_within(slope.astype(compute), exact_slope, bound)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("classes", [10, 100])
def test_the_mean_of_many_rows(isa: str, dtype: Any, classes: int) -> None:
    """20 000 losses near 14 sum to 280 000: inf in float16, lost in bfloat16."""
    x = np.zeros((20_000, classes), dtype)
    x[:, 0] = 14
    target = np.arange(20_000) % (classes - 1) + 1
    exact = np.log(np.exp(14.0) + classes - 1)
    loss, gradient = ss.cross_entropy_with_grad(x, target)
    assert loss == pytest.approx(exact, rel=roundoff(np.float32, classes))
    total = ss.cross_entropy(x, target, reduction="sum")
    assert total == pytest.approx(20_000 * exact, rel=roundoff(np.float32, classes))
    # 1 / 20 000 is subnormal in float16.
    expected = ref.cross_entropy_with_grad(x[:200], target[:200])[1] / 100
    bound = roundoff(np.float32, classes) * 15 / 20_000 + half_ulp(expected, dtype)
    assert_within(gradient[:200].astype(np.float32), expected, bound)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_a_small_loss_keeps_its_digits(isa: str, dtype: Any) -> None:
    for classes in (3, 40):
        x = np.full((1, classes), -np.inf, dtype)
        x[0, :3] = [20, 0, 1]
        loss, gradient = ss.cross_entropy_with_grad(x, np.array([0]))
        assert loss == pytest.approx(np.log1p(np.exp(-20.0) + np.exp(-19.0)), rel=1e-6)
        expected = np.zeros(classes)
        expected[:3] = np.array([-1 - np.e, 1, np.e]) / (1 + np.e + np.exp(20.0))
        bound = np.abs(expected) * 21 * roundoff(np.float32) + half_ulp(expected, dtype)
        assert_within(gradient[0].astype(np.float32), expected, bound)


def strided(x: Any) -> Any:
    y = np.full([2 * n for n in x.shape], np.nan).astype(x.dtype)
    y = y[(slice(None, None, 2),) * x.ndim]
    y[...] = x
    return y


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_softmax_family(isa: str, rng: np.random.Generator, dtype: Any) -> None:
    """Forward and backward, of any layout and in place; within half an ulp of the stored dtype."""
    for shape, axis in SHAPES:
        x, dy = (rng.normal(scale=3, size=shape).astype(dtype) for _ in range(2))
        unit = roundoff(np.float32, shape[axis])
        size = 1 + 4 * np.abs(x.astype(np.float32)).max()
        for name in ("softmax", "log_softmax", "logsumexp", "entropy"):
            expected = getattr(ref, name)(x, axis=axis, temperature=0.5)
            bound = 4 * unit * size + half_ulp(expected, dtype)
            call = getattr(ss, name)
            first = call(x, axis=axis, temperature=0.5)
            results = [first, call(strided(x), axis=axis, temperature=0.5)]
            results.append(call(x.astype(dtype.newbyteorder()), axis=axis, temperature=0.5))
            out = np.empty_like(x if name in ("softmax", "log_softmax") else first)
            results.append(call(x, axis=axis, temperature=0.5, out=np.asarray(out)))
            if name in ("softmax", "log_softmax"):
                same = x.copy()
                results.append(call(same, axis=axis, temperature=0.5, out=same))
                back = getattr(ss, f"{name}_backward")(dy, first, axis=axis)
                slope = getattr(ref, f"{name}_backward")(dy, first, axis=axis)
                assert back.dtype == dtype
                # Sums of C terms of up to 16.
                back_bound = 64 * shape[axis] * unit + half_ulp(slope, dtype)
                if name == "softmax":
                    back_bound = back_bound + rounded_probabilities(dy, first, axis=axis)
                assert_within(back.astype(np.float32), slope, back_bound)
            for result in results:
                assert result.dtype == dtype
                assert_within(np.asarray(result).astype(np.float32), expected, bound)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_strided_and_in_place_gradients(isa: str, rng: np.random.Generator, dtype: Any) -> None:
    for shape, axis in SHAPES:
        x = rng.normal(size=shape).astype(dtype)
        target = np.asarray(rng.integers(0, shape[axis], np.delete(shape, axis)))
        expected = ref.cross_entropy_with_grad(x, target, axis=axis)
        unit = roundoff(np.float32, shape[axis])
        bound = 16 * unit + half_ulp(expected[1], dtype)
        spread = strided(x)
        for out in (None, strided(x), spread):
            loss, gradient = ss.cross_entropy_with_grad(spread, target, axis=axis, out=out)
            assert out is None or gradient is out
            assert loss == pytest.approx(expected[0], rel=unit, abs=16 * unit)
            assert_within(gradient.astype(np.float32), expected[1], bound)


def test_wrong_dtypes() -> None:
    x = np.zeros((3, 4), np.float16)
    with pytest.raises(TypeError, match=r"^out: expected float16, got float32"):
        ss.cross_entropy_with_grad(x, np.zeros(3, int), out=np.zeros((3, 4), np.float32))
    with pytest.raises(TypeError, match=r"^out: expected bfloat16, got float16"):
        ss.softmax(x.astype(bfloat16), out=x)
    with pytest.raises(TypeError, match=r"^logits: expected float16, bfloat16, .*got float8"):
        ss.cross_entropy(x.astype(ml_dtypes.float8_e4m3fn), np.zeros(3, int))
    with pytest.raises(
        TypeError, match=r"^logits: expected float16, bfloat16, .*got longdouble|128"
    ):
        ss.cross_entropy(x.astype(np.longdouble), np.zeros(3, int))
