"""cross_entropy and its gradient: values at every size, class indices and probabilities."""

import math
from typing import Any

import numpy as np
import pytest

import softstep as ss
from tests import reference as ref
from tests.support.cases import DTYPES, SHAPES, assert_within, logits_for, roundoff

REDUCTIONS = ["none", "sum", "mean"]
INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]


def indices(rng: np.random.Generator, shape: tuple[int, ...], axis: int = -1) -> Any:
    rows = tuple(np.delete(shape, axis))
    return np.asarray(rng.integers(0, shape[axis], rows))


def masses(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Any:
    """Probabilities that need not sum to 1, with exact zeros among them."""
    q = rng.uniform(size=shape)
    return np.where(q < 0.3, 0, q).astype(dtype)


def bounds(x: Any, target: Any, **options: Any) -> tuple[Any, Any]:
    """-q log p is a sum of terms >= 0, each rounded relative to itself; so is the gradient."""
    axis = options.get("axis", -1)
    unit = roundoff(x.dtype, x.shape[axis])
    options = {**options, "reduction": "none"}
    loss = np.abs(ref.cross_entropy(x, target, **options))
    p = ref.softmax(x, axis=axis)
    distance = -ref.log_softmax(x, axis=axis)
    q = target if np.issubdtype(target.dtype, np.floating) else 1.0
    q = np.asarray(q, np.float64)
    total = q.sum(axis=axis, keepdims=True) if q.ndim else q
    return unit * (1 + loss), unit * (total * p * (1 + distance) + q * (p < 1))


def check(x: Any, target: Any, **options: Any) -> None:
    loss_bound, gradient_bound = bounds(x, target, **options)
    rows = max(loss_bound.size, 1)
    for reduction in REDUCTIONS:
        expected, expected_gradient = ref.cross_entropy_with_grad(
            x, target, reduction=reduction, **options
        )
        loss, gradient = ss.cross_entropy_with_grad(x, target, reduction=reduction, **options)
        alone = ss.cross_entropy(x, target, reduction=reduction, **options)
        np.testing.assert_array_equal(alone, loss)
        assert gradient.dtype == x.dtype and gradient.shape == x.shape
        if reduction == "none":
            assert_within(loss, expected, loss_bound, x.dtype)
        else:
            assert isinstance(loss, float) and isinstance(alone, float)
            share = 1 if reduction == "sum" else rows
            assert_within(loss, expected, loss_bound.sum() / share, x.dtype)
        share = rows if reduction == "mean" else 1
        assert_within(gradient, expected_gradient, gradient_bound / share)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["indices", "probabilities"])
def test_every_size(isa: str, rng: np.random.Generator, kind: str, dtype: Any) -> None:
    for shape in SHAPES:
        x = logits_for(rng, shape, dtype)
        check(x, indices(rng, shape) if kind == "indices" else masses(rng, shape, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["indices", "probabilities"])
def test_every_axis(isa: str, rng: np.random.Generator, kind: str, dtype: Any) -> None:
    for shape in [(6,), (5, 9), (33, 10), (10, 33), (3, 10, 17), (2, 21, 65), (2, 3, 4, 5)]:
        x = logits_for(rng, shape, dtype)
        for axis in range(-x.ndim, x.ndim):
            target = indices(rng, shape, axis) if kind == "indices" else masses(rng, shape, dtype)
            check(x, target, axis=axis)


@pytest.mark.parametrize("integer", [*INTEGERS, "bool"])
def test_any_integer_target(isa: str, rng: np.random.Generator, integer: str) -> None:
    for shape in [(7, 2), (7, 10), (5, 100)]:
        x = logits_for(rng, shape, np.float32)
        target = np.minimum(indices(rng, shape), 1 if integer == "bool" else 100)
        expected = ss.cross_entropy_with_grad(x, target)
        actual = ss.cross_entropy_with_grad(x, target.astype(integer))
        assert actual[0] == expected[0]
        np.testing.assert_array_equal(actual[1], expected[1])


def test_values_of_torch(isa: str) -> None:
    """torch 2.13, F.cross_entropy."""
    x, target = np.array([[1.0, 2, 3], [0, 0, 1]]), np.array([0, 2])
    weight = np.array([1.0, 2, 4])
    q = np.array([[0.2, 0.3, 0.5], [0.1, 0.6, 0.3]])
    near = {"rel": 1e-7}
    assert ss.cross_entropy(x, target) == pytest.approx(1.4795253, **near)
    assert ss.cross_entropy(x, target, weight=weight) == pytest.approx(0.9226769, **near)
    assert ss.cross_entropy(x, q, weight=weight) == pytest.approx(2.4099543, **near)
    smooth = {"weight": weight, "label_smoothing": 0.3}
    assert ss.cross_entropy(x, target, **smooth) == pytest.approx(0.9201409, **near)
    rows = ss.cross_entropy(x, target, reduction="none", **smooth)
    np.testing.assert_allclose(rows, [2.3706, 2.2301], atol=5e-5)
    _, gradient = ss.cross_entropy_with_grad(x, target, weight=weight)
    expected = [[-0.181994, 0.048946, 0.133048], [0.169553, 0.169553, -0.339106]]
    np.testing.assert_allclose(gradient, expected, atol=5e-7)
    _, gradient = ss.cross_entropy_with_grad(x, target, **smooth)
    expected = [[-0.134791, 0.028524, 0.106267], [0.128359, 0.108359, -0.236718]]
    np.testing.assert_allclose(gradient, expected, atol=5e-7)


@pytest.mark.parametrize("classes_first", [False, True])
@pytest.mark.parametrize("classes", [3, 4, 10, 33, 129, 1041])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_small_loss_keeps_its_digits(
    isa: str, dtype: Any, classes: int, classes_first: bool
) -> None:
    """float32 [20, 0, 1], target 0: 7.66e-9, where lse - x is 0 and p - 1 is 0."""
    for gap in (5, 10, 15, 20, 40):
        x = np.full((2, classes), -np.inf)
        x[:, :3] = [gap, 0, 1]
        x[1] = np.roll(x[1], classes // 2)
        target = x.argmax(axis=1)
        loss = np.log1p((1 + np.e) * np.exp(-gap))
        slope = -1 / (1 + np.exp(gap) / (1 + np.e))
        # d = -gap is exact; exp(d) keeps gap eps relative.
        relative = (1 + gap) * roundoff(dtype)
        x = x.astype(dtype)
        axis = 0 if classes_first else 1
        logits = x.T.copy() if classes_first else x
        losses, gradient = ss.cross_entropy_with_grad(logits, target, axis=axis, reduction="none")
        assert_within(losses, [loss, loss], relative * loss)
        own = np.moveaxis(gradient, axis, 1)[[0, 1], target]
        assert_within(own, [slope, slope], relative * abs(slope))


def test_the_example_of_the_field_survey(isa: str) -> None:
    x = np.array([[20, 0, 1]], np.float32)
    loss, gradient = ss.cross_entropy_with_grad(x, np.array([0]))
    assert loss == pytest.approx(7.663950e-9, rel=1e-6)
    np.testing.assert_allclose(gradient, [[-7.66395e-9, 2.0611536e-9, 5.6027964e-9]], rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["indices", "probabilities"])
def test_gradient_in_place_over_the_logits(
    isa: str, rng: np.random.Generator, kind: str, dtype: Any
) -> None:
    for shape in [(5, 1), (17, 3), (17, 10), (33, 33), (3, 1041), (3, 20011)]:
        for axis in (0, 1):
            x = logits_for(rng, shape, dtype)
            target = indices(rng, shape, axis) if kind == "indices" else masses(rng, shape, dtype)
            loss, gradient = ss.cross_entropy_with_grad(x.copy(), target, axis=axis)
            same_loss, same = ss.cross_entropy_with_grad(x, target, axis=axis, out=x)
            assert same is x and same_loss == loss
            np.testing.assert_array_equal(x, gradient)


@pytest.mark.parametrize("kind", ["indices", "probabilities"])
def test_gradient_is_the_derivative_of_the_loss(
    isa: str, rng: np.random.Generator, kind: str
) -> None:
    """Central differences of order 4, h = 1e-3: truncation h^4 and rounding eps / h are < 1e-9."""
    h, shape = 1e-3, (3, 5)
    x = rng.normal(size=shape)
    target = indices(rng, shape) if kind == "indices" else masses(rng, shape, np.float64)
    options = {"label_smoothing": 0.2, "temperature": 0.7, "z_loss": 0.3}
    options |= {"weight": rng.uniform(0.5, 2, 5), "sample_weight": rng.uniform(0.5, 2, 3)}
    for reduction in ("sum", "mean"):
        _, gradient = ss.cross_entropy_with_grad(x, target, reduction=reduction, **options)
        for at in np.ndindex(x.shape):
            numerical = 0.0
            for step, factor in [(-2, 1), (-1, -8), (1, 8), (2, -1)]:
                moved = x.copy()
                moved[at] += step * h
                loss = ss.cross_entropy(moved, target, reduction=reduction, **options)
                numerical += factor / (12 * h) * loss
            assert gradient[at] == pytest.approx(numerical, abs=1e-8)


@pytest.mark.parametrize("dtype", DTYPES)
def test_many_small_losses_are_summed_wide(isa: str, rng: np.random.Generator, dtype: Any) -> None:
    """65 536 float32 losses added one by one in float32 would lose 4e-6."""
    x = logits_for(rng, (65536, 10), dtype)
    target = indices(rng, x.shape)
    exact = math.fsum(ss.cross_entropy(x, target, reduction="none").tolist())
    total = ss.cross_entropy(x, target, reduction="sum")
    assert total == pytest.approx(exact, rel=roundoff(np.float64, 65536))
