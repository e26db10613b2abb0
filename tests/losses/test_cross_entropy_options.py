"""cross_entropy: weights, smoothing, ignored rows, extra terms, reductions, error messages."""

import itertools
from typing import Any

import numpy as np
import pytest

import softstep as ss
from tests import reference as ref
from tests.support.cases import DTYPES, assert_within, logits_for, roundoff


def bounds(x: Any, target: Any, axis: int, o: dict[str, Any]) -> tuple[Any, Any]:
    """Rounding of a row's loss and gradient: unit times the absolute values of their terms."""
    z = np.moveaxis(x.astype(np.float64), axis, -1) / o["temperature"]
    classes = z.shape[-1]
    weight = np.ones(classes) if o["weight"] is None else o["weight"].astype(np.float64)
    rows = np.ones(z.shape[:-1]) if o["sample_weight"] is None else o["sample_weight"]
    if np.issubdtype(target.dtype, np.floating):
        mass = np.moveaxis(target, axis, -1)
    else:
        mass = target[..., None] == np.arange(classes)
    q = weight * ((1 - o["label_smoothing"]) * mass + o["label_smoothing"] / classes)
    distance, p = -ref.log_softmax(z), ref.softmax(z)
    unit = roundoff(x.dtype, classes)
    lse = 1 + np.abs(ref.logsumexp(z)) + np.abs(z).max(axis=-1)
    loss = rows * unit * ((q * (1 + distance)).sum(axis=-1) + 2 * o["z_loss"] * lse**2)
    pull = (1 + distance) * p * (q.sum(axis=-1) + 2 * o["z_loss"] * lse)[..., None] + q
    gradient = rows[..., None] * unit * pull / o["temperature"]
    return loss, np.moveaxis(gradient, -1, axis)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["indices", "probabilities"])
@pytest.mark.parametrize("shape", [(17, 3), (33, 10), (5, 129)])
def test_every_combination(
    isa: str, rng: np.random.Generator, shape: tuple[int, int], kind: str, dtype: Any
) -> None:
    for axis in (0, 1):
        rows, classes = shape[1 - axis], shape[axis]
        x = logits_for(rng, shape, dtype)
        target = rng.integers(0, classes, rows)
        target[:: max(rows // 3, 2)] = -100
        if kind == "probabilities":
            target = rng.uniform(size=shape).astype(dtype)
        weight = rng.uniform(0.25, 2, classes).astype(dtype)
        sample_weight = rng.uniform(0.25, 2, rows).astype(dtype)
        grid = itertools.product(
            (None, weight), (None, sample_weight), (0.0, 0.3), (1.0, 0.5), (0.0, 0.01)
        )
        names = ("weight", "sample_weight", "label_smoothing", "temperature", "z_loss")
        for values in grid:
            o = dict(zip(names, values, strict=True))
            loss_bound, gradient_bound = bounds(x, target, axis, o)
            for reduction, denominator in [
                ("none", None),
                ("sum", None),
                ("mean", None),
                ("mean", 7.0),
            ]:
                options = {**o, "axis": axis, "reduction": reduction}
                if denominator is not None:
                    options["denominator"] = denominator
                expected, expected_gradient = ref.cross_entropy_with_grad(x, target, **options)
                loss, gradient = ss.cross_entropy_with_grad(x, target, **options)
                total = ref.cross_entropy(x, target, **{**options, "reduction": "sum"})
                share = total / expected if reduction == "mean" else 1.0
                loss_limit = loss_bound if reduction == "none" else loss_bound.sum() / share
                assert_within(loss, expected, loss_limit, dtype)
                assert_within(gradient, expected_gradient, gradient_bound / share)
                np.testing.assert_array_equal(ss.cross_entropy(x, target, **options), loss)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("classes", [1, 3, 10, 33, 129, 1041])
@pytest.mark.parametrize("dtype", DTYPES)
def test_ignored_rows_are_never_read(
    isa: str, rng: np.random.Generator, dtype: Any, classes: int, axis: int
) -> None:
    """Their gradient is exactly 0, and the other rows do not notice them (pytorch#11551)."""
    x = logits_for(rng, (19, classes), dtype)
    target = rng.integers(0, classes, 19)
    target[[0, 3, 4, 18]] = -100
    kept = target != -100
    options = {"label_smoothing": 0.1, "z_loss": 0.01, "axis": axis}
    clean_loss, clean = ss.cross_entropy_with_grad(x if axis else x.T.copy(), target, **options)
    x[0], x[3], x[4, 0], x[18] = np.nan, -np.inf, np.inf, 3e38
    dirty = x if axis else x.T.copy()
    for out in (None, dirty):
        loss, gradient = ss.cross_entropy_with_grad(dirty, target, out=out, **options)
        assert loss == clean_loss and np.isfinite(loss)
        np.testing.assert_array_equal(gradient, clean)
        by_row = gradient if axis else gradient.T
        assert not by_row[~kept].any() and not np.signbit(by_row[~kept]).any()
        assert classes == 1 or by_row[kept].any(axis=1).all()
    losses = ss.cross_entropy(x if axis else x.T.copy(), target, reduction="none", axis=axis)
    assert (losses[~kept] == 0).all()


def test_ignore_index_of_any_value(isa: str, rng: np.random.Generator) -> None:
    x = logits_for(rng, (6, 4), np.float64)
    for integer, ignored in [("int64", 2), ("int8", -1), ("uint8", 255), ("int64", 10**12)]:
        target = np.array([0, ignored, 3, 1, ignored, 0], integer)
        expected, slope = ref.cross_entropy_with_grad(x, target, ignore_index=ignored)
        loss, gradient = ss.cross_entropy_with_grad(x, target, ignore_index=ignored)
        assert_within(loss, expected, roundoff(x.dtype, 4) * (1 + expected))
        assert_within(gradient, slope, roundoff(x.dtype, 4))
        assert not gradient[[1, 4]].any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_mean_over_nothing(isa: str, dtype: Any) -> None:
    x, ignored = np.ones((3, 4), dtype), np.full(3, -100)
    nothing, no_target = np.empty((0, 4), dtype), np.empty(0, np.int64)
    no_mass = np.empty((0, 4), dtype)
    for logits, target in [(x, ignored), (nothing, no_target), (nothing, no_mass)]:
        for empty, expected in [("nan", np.nan), ("zero", 0.0)]:
            loss, gradient = ss.cross_entropy_with_grad(logits, target, empty=empty)
            np.testing.assert_equal(loss, expected)
            assert gradient.shape == logits.shape and not gradient.any()
        with pytest.raises(ValueError, match="mean"):
            ss.cross_entropy(logits, target, empty="raise")
        for empty in ("nan", "zero", "raise"):
            assert ss.cross_entropy(logits, target, reduction="sum", empty=empty) == 0
            assert ss.cross_entropy(logits, target, denominator=5.0, empty=empty) == 0
            losses = ss.cross_entropy(logits, target, reduction="none", empty=empty)
            np.testing.assert_array_equal(losses, np.zeros(len(logits)))
    weightless = {"weight": np.zeros(4, dtype)}
    assert np.isnan(ss.cross_entropy(x, np.zeros(3, int), **weightless))
    assert ss.cross_entropy(x, np.zeros(3, int), empty="zero", **weightless) == 0


def test_one_row_without_a_batch(isa: str) -> None:
    x = np.array([1.0, 2, 3])
    for reduction in ("none", "sum", "mean"):
        loss, gradient = ss.cross_entropy_with_grad(x, np.array(2), reduction=reduction)
        assert isinstance(loss, float)
        assert loss == pytest.approx(np.log(1 + np.exp(-1) + np.exp(-2)), rel=1e-14)
        assert gradient.shape == (3,)
    assert ss.cross_entropy(x, np.array(0), weight=np.array([5.0, 1, 1])) == pytest.approx(
        ss.cross_entropy(x, np.array(0)), rel=1e-14
    )


@pytest.mark.parametrize("integer", ["int8", "int32", "int64", "uint64"])
def test_a_target_out_of_range_is_an_error_before_anything_is_written(
    isa: str, integer: str
) -> None:
    values = {"int8": [10, -1, -99], "uint64": [10, 2**63 + 1, 2**64 - 100]}
    for value in values.get(integer, [10, -1, -99, 2**31 - 1]):
        for reduction in ("none", "sum", "mean"):
            x, target = np.zeros((6, 10), np.float32), np.zeros(6, integer)
            target[3] = value
            target[5] = 11
            out = np.full_like(x, 7)
            message = rf"^target: row 3 has the value {value}, expected a class in \[0, 10\)"
            with pytest.raises(IndexError, match=message):
                ss.cross_entropy_with_grad(x, target, out=out, reduction=reduction)
            with pytest.raises(IndexError, match=message):
                ss.cross_entropy(x, target, reduction=reduction)
            assert (out == 7).all()
            with pytest.raises(IndexError):
                ss.cross_entropy_with_grad(x, target, out=x, reduction=reduction)
            assert (x == 0).all()
    with pytest.raises(IndexError, match="target"):
        ss.cross_entropy(np.empty((2, 0), np.float32), np.zeros(2, int))


WRONG = [
    ({"target": np.zeros(7, int)}, ValueError, r"^target: expected shape \(8,\).*, got \(7,\)"),
    ({"target": np.zeros((8, 3))}, ValueError, r"^target: expected .*\(8, 4\).*got .*\(8, 3\)"),
    ({"target": np.zeros(8)}, ValueError, r"^target: expected integers .*got float64"),
    ({"target": np.zeros((8, 4), complex)}, TypeError, r"^target: expected .*got complex128"),
    ({"target": np.array(["a"] * 8)}, (TypeError, ValueError), r"^target: expected .*got <U1"),
    ({"weight": np.ones(3)}, ValueError, r"^weight: expected shape \(4,\), got \(3,\)"),
    ({"weight": np.ones((8, 4))}, ValueError, r"^weight: expected shape \(4,\), got \(8, 4\)"),
    (
        {"sample_weight": np.ones(4)},
        ValueError,
        r"^sample_weight: expected shape \(8,\), got \(4,\)",
    ),
    ({"label_smoothing": 1.5}, ValueError, r"^label_smoothing: expected .*got 1\.5"),
    ({"label_smoothing": -0.1}, ValueError, r"^label_smoothing: expected .*got -0\.1"),
    ({"label_smoothing": np.nan}, ValueError, r"^label_smoothing: expected .*got nan"),
    ({"temperature": 0.0}, ValueError, r"^temperature: expected .*got 0"),
    ({"reduction": "average"}, ValueError, r"^reduction: expected .*mean.*got .?average"),
    ({"empty": "ignore"}, ValueError, r"^empty: expected .*nan.*got .?ignore"),
    ({"denominator": 0.0}, ValueError, r"^denominator: expected .*got 0"),
    ({"axis": 2}, ValueError, r"axis.*2"),
    ({"out": np.zeros((8, 5))}, ValueError, r"^out: expected shape \(8, 4\), got \(8, 5\)"),
    ({"out": np.zeros((8, 4), np.float32)}, TypeError, r"^out: expected float64, got float32"),
]


@pytest.mark.parametrize("change, error, message", WRONG)
def test_errors_name_the_argument(change: dict[str, Any], error: Any, message: str) -> None:
    arguments = {"logits": np.zeros((8, 4)), "target": np.zeros(8, int), **change}
    with pytest.raises(error, match=message):
        ss.cross_entropy_with_grad(**arguments)
    if "out" not in change:
        with pytest.raises(error, match=message):
            ss.cross_entropy(**arguments)
