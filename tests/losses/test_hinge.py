"""hinge: two classes (-1, +1) and many (Crammer-Singer), with the subgradient."""

from typing import Any

import numpy as np
import pytest

import softstep as ss
from tests import reference as ref
from tests.support.cases import DTYPES, SHAPES, assert_within, away_from_kinks, logits_for, roundoff

REDUCTIONS = ["none", "sum", "mean"]
SIZES = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 129, 1025, 100_003]


def check(scores: Any, target: Any, **options: Any) -> None:
    """A loss is two rounded operations on numbers of the size of the scores; slopes are exact."""
    axis, margin = options.get("axis", -1), options.get("margin", 1.0)
    size = np.abs(scores).astype(np.float64)
    if target.shape != scores.shape:
        size = size.max(axis=axis, initial=0)
    for reduction in REDUCTIONS:
        expected, slope = ref.hinge_with_grad(scores, target, reduction=reduction, **options)
        loss, gradient = ss.hinge_with_grad(scores, target, reduction=reduction, **options)
        np.testing.assert_array_equal(
            ss.hinge(scores, target, reduction=reduction, **options), loss
        )
        limit = roundoff(scores.dtype) * (margin + size)
        if reduction != "none":
            assert isinstance(loss, float)
            limit = limit.mean() if reduction == "mean" else limit.sum()
        assert_within(loss, expected, limit, scores.dtype)
        assert gradient.dtype == scores.dtype
        assert_within(gradient, slope, roundoff(scores.dtype) * np.abs(slope))


@pytest.mark.parametrize("dtype", DTYPES)
def test_binary_every_size(isa: str, rng: np.random.Generator, dtype: Any) -> None:
    for size in SIZES:
        scores = away_from_kinks(logits_for(rng, (size,), dtype))
        target = rng.choice([-1, 1], size)
        for margin in (1.0, 0.5, 2.0):
            check(scores, target, margin=margin)
    scores = away_from_kinks(logits_for(rng, (3, 4, 5), dtype))
    check(scores, rng.choice([-1, 1], scores.shape))


@pytest.mark.parametrize("target_dtype", ["int8", "int32", "int64", "float32", "float64"])
def test_binary_target_dtypes(isa: str, rng: np.random.Generator, target_dtype: str) -> None:
    scores = logits_for(rng, (21,), np.float32)
    target = rng.choice([-1, 1], 21)
    expected, slope = ss.hinge_with_grad(scores, target)
    loss, gradient = ss.hinge_with_grad(scores, target.astype(target_dtype))
    assert loss == expected
    np.testing.assert_array_equal(gradient, slope)


@pytest.mark.parametrize("dtype", DTYPES)
def test_many_classes_every_size(isa: str, rng: np.random.Generator, dtype: Any) -> None:
    for rows, classes in SHAPES:
        scores = away_from_kinks(logits_for(rng, (rows, classes), dtype))
        check(scores, rng.integers(0, classes, rows))


@pytest.mark.parametrize("dtype", DTYPES)
def test_many_classes_every_axis(isa: str, rng: np.random.Generator, dtype: Any) -> None:
    for shape in [(6,), (5, 9), (33, 10), (10, 33), (2, 21, 65), (2, 3, 4, 5)]:
        scores = away_from_kinks(logits_for(rng, shape, dtype))
        for axis in range(-len(shape), len(shape)):
            target = np.asarray(rng.integers(0, shape[axis], tuple(np.delete(shape, axis))))
            check(scores, target, axis=axis, margin=0.75)


def test_values_by_hand(isa: str) -> None:
    scores = np.array([[1.0, 2, 0], [5, 0, 0], [0, 0, 0.5]])
    losses, gradient = ss.hinge_with_grad(scores, np.array([0, 0, 2]), reduction="none")
    assert losses.tolist() == [2, 0, 0.5]
    assert gradient.tolist() == [[-1, 1, 0], [0, 0, 0], [1, 0, -1]]  # a tie goes to the first
    losses, gradient = ss.hinge_with_grad(
        np.array([0.5, 0.5, 1]), np.array([1, -1, 1]), reduction="none"
    )
    assert losses.tolist() == [0.5, 1.5, 0]
    assert gradient.tolist() == [-1, 1, 0]  # 0 at the kink


@pytest.mark.parametrize("classes", [2, 3, 10, 33, 129])
def test_ties_and_kinks(isa: str, classes: int) -> None:
    """All scores equal: the rival is the first other class. Loss exactly 0: the slope is 0."""
    for axis in (0, 1):
        equal = np.zeros((classes, classes)[:: 1 if axis else -1], np.float32)
        target = np.arange(classes)
        losses, gradient = ss.hinge_with_grad(equal, target, axis=axis, reduction="none")
        assert (losses == 1).all()
        by_row = np.moveaxis(gradient, axis, 1)
        first_other = np.where(target == 0, 1, 0)
        assert (by_row[target, first_other] == 1).all() and (by_row[target, target] == -1).all()
        assert (np.abs(by_row).sum(axis=1) == 2).all()
        at_kink = np.eye(classes, dtype=np.float32)
        losses, gradient = ss.hinge_with_grad(at_kink, target, axis=axis, reduction="none")
        assert not losses.any() and not gradient.any()


def test_one_class_has_no_rival(isa: str) -> None:
    loss, gradient = ss.hinge_with_grad(np.ones((3, 1)), np.zeros(3, int), reduction="none")
    assert not loss.any() and not gradient.any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_in_place(isa: str, rng: np.random.Generator, dtype: Any) -> None:
    for shape in [(17, 3), (33, 10), (5, 129), (3, 1041)]:
        for axis in (0, 1):
            many = rng.integers(0, shape[axis], shape[1 - axis])
            for target in (many, rng.choice([-1, 1], shape)):
                scores = logits_for(rng, shape, dtype)
                loss, gradient = ss.hinge_with_grad(scores.copy(), target, axis=axis)
                same_loss, same = ss.hinge_with_grad(scores, target, axis=axis, out=scores)
                assert same is scores and same_loss == loss
                np.testing.assert_array_equal(same, gradient)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_nan_is_not_hidden(isa: str, dtype: Any) -> None:
    for classes in (2, 5, 10, 33, 129):
        for axis in (0, 1):
            for at in {0, classes // 2, classes - 1}:
                scores = np.zeros((9, classes), dtype)
                scores[4, at] = np.nan
                target = np.zeros(9, int)
                scores = scores if axis else scores.T.copy()
                losses = ss.hinge(scores, target, axis=axis, reduction="none")
                assert np.isnan(losses).nonzero()[0].tolist() == [4]
        losses = ss.hinge(np.full(classes, np.nan, dtype), np.ones(classes, int), reduction="none")
        assert np.isnan(losses).all()


def test_empty(isa: str) -> None:
    for scores, target in [(np.empty((0, 3)), np.empty(0, int)), (np.empty(0), np.empty(0, int))]:
        assert ss.hinge(scores, target, reduction="sum") == 0
        assert ss.hinge(scores, target, reduction="none").shape == (0,)
        assert np.isnan(ss.hinge(scores, target))


def test_errors_name_the_argument() -> None:
    scores, target = np.zeros((8, 4), np.float32), np.zeros(8, int)
    for function in (ss.hinge, ss.hinge_with_grad):
        with pytest.raises(IndexError, match=r"^target.*\b3\b.*\b4\b.*\b4\b"):
            function(scores, np.array([0, 0, 0, 4, 0, 0, 0, 0]))
        with pytest.raises(IndexError, match=r"^target.*\b2\b.*-100\b.*\b4\b"):
            function(scores, np.array([0, 0, -100, 0, 0, 0, 0, 0]))  # no ignored rows here
        with pytest.raises(ValueError, match=r"^target: expected .*-1.*1.*"):
            function(scores[0], np.array([1, 0, 1, 1]))
        with pytest.raises(ValueError, match=r"^target: expected shape .*\(8,\).*got \(7,\)"):
            function(scores, target[:7])
        with pytest.raises(TypeError, match=r"^scores: expected .*float32.*got float16"):
            function(scores.astype(np.float16), target)
        with pytest.raises(ValueError, match=r"^reduction: expected .*mean.*got .?average"):
            function(scores, target, reduction="average")
        with pytest.raises(ValueError, match="axis"):
            function(scores, target, axis=2)
        with pytest.raises(ValueError, match=r"^margin: expected .*got nan"):
            function(scores, target, margin=np.nan)
    out = np.full_like(scores, 7)
    with pytest.raises(IndexError):
        ss.hinge_with_grad(scores, target + 4, out=out)
    assert (out == 7).all()
