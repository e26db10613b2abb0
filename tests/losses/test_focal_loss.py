"""The focal loss: (1 - p)^gamma times the loss of a class target."""

from typing import Any

import mpmath as mp
import numpy as np
import pytest

import softstep as ss
from tests.support.cases import DTYPES, SHAPES, logits_for, roundoff
from tests.support.cross_entropy_check import check

GAMMAS = (0.5, 1.0, 2.0, 5.0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_size(isa: str, rng: np.random.Generator, dtype: Any) -> None:
    for number, (rows, classes) in enumerate(SHAPES):
        x = logits_for(rng, (rows, classes), dtype)
        target = rng.integers(0, classes, rows)
        target[::4] = -100
        options = {"label_smoothing": 0.1} if number % 3 == 0 else {}
        check(x, target, gamma=GAMMAS[number % 4], **options)


def exact(lead: float, gamma: float) -> tuple[Any, Any]:
    """Loss and the target's gradient of the logits [lead, 0], to 40 digits."""
    with mp.workdps(40):
        rest = 1 / (1 + mp.e ** mp.mpf(lead))
        nll = -mp.log(1 - rest)
        factor = rest ** mp.mpf(gamma)
        pull = factor * (1 + gamma * (1 - rest) * nll / rest)
        return factor * nll, -pull * rest


@pytest.mark.parametrize("shape", [(1, 2), (40, 2), (3, 70)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gamma", GAMMAS)
def test_near_certainty_and_near_impossibility(
    isa: str, dtype: Any, gamma: float, shape: tuple[int, int]
) -> None:
    """Relative accuracy of a loss near 0, and of its gradient; no NaN where p is 0 or 1."""
    for lead in (-20.0, -1.0, 0.0, 1.0, 5.0, 12.0):
        x = np.full(shape, -np.inf, dtype)
        x[:, 0], x[:, 1] = lead, 0
        target = np.zeros(len(x), int)
        loss, gradient = ss.cross_entropy_with_grad(x, target, gamma=gamma, reduction="none")
        value, slope = (float(number) for number in exact(lead, gamma))
        # exp(d) is exact to |d| eps, and the power multiplies what 1 - p has lost.
        unit = roundoff(dtype, shape[1]) * (1 + gamma) * (2 + abs(lead))
        np.testing.assert_allclose(loss, value, rtol=unit)
        np.testing.assert_allclose(gradient[:, 0], slope, rtol=unit)
        np.testing.assert_allclose(gradient[:, 1], -slope, rtol=unit)
    for lead, value in ((np.inf, np.nan), (200.0, 0.0), (-200.0, 200.0)):
        x = np.zeros(shape, dtype)
        x[:, 0] = lead
        x[:, 2:] = -np.inf
        loss, gradient = ss.cross_entropy_with_grad(x, target, gamma=gamma, reduction="none")
        np.testing.assert_allclose(loss, value, atol=1e-30)
        if np.isfinite(lead):
            assert np.isfinite(gradient).all()
            np.testing.assert_allclose(gradient[:, 0], -float(lead < 0), atol=1e-30)


@pytest.mark.parametrize("dtype", DTYPES)
def test_classes_of_probability_0(isa: str, dtype: Any) -> None:
    x = np.array([[-np.inf, 0.0, 1.0]], dtype)
    loss, gradient = ss.cross_entropy_with_grad(x, [0], gamma=2.0)
    plain, expected = ss.cross_entropy_with_grad(x, [0])
    assert loss == plain == np.inf
    np.testing.assert_array_equal(gradient, expected)


@pytest.mark.parametrize("shape, axis", [((6, 9), -1), ((2, 9, 5), 1), ((4, 70), -1)])
def test_the_gradient_is_that_of_differences(
    isa: str, rng: np.random.Generator, shape: tuple[int, ...], axis: int
) -> None:
    x = rng.normal(size=shape)
    target = rng.integers(0, shape[axis], tuple(np.delete(shape, axis)))
    options: dict[str, Any] = {"axis": axis, "gamma": 1.7, "label_smoothing": 0.2}
    options |= {"temperature": 1.3, "weight": rng.uniform(0.5, 2, shape[axis])}
    loss, gradient = ss.cross_entropy_with_grad(x, target, **options)
    direction = rng.normal(size=shape)
    h = 1e-4
    steps = [ss.cross_entropy(x + k * h * direction, target, **options) for k in (-2, -1, 1, 2)]
    slope = (steps[0] - 8 * steps[1] + 8 * steps[2] - steps[3]) / (12 * h)
    assert slope == pytest.approx((gradient * direction).sum(), rel=1e-8)
    half = {**options, "temperature": 1.3 + h}, {**options, "temperature": 1.3 - h}
    slope = (
        (ss.cross_entropy(x, target, **half[0]) - ss.cross_entropy(x, target, **half[1])) / 2 / h
    )
    found = ss.cross_entropy(x, target, extra=["dtemperature"], **options)[1]["dtemperature"]
    assert found == pytest.approx(slope, rel=1e-6)
    assert loss < ss.cross_entropy(x, target, **{**options, "gamma": 0.0})


def test_only_class_targets_have_it() -> None:
    x = np.zeros((2, 3), np.float32)
    probabilities = np.full((2, 3), 1 / 3, np.float32)
    for target, options in (
        (probabilities, {}),
        ([[0], [1]], {"target_probabilities": [[1], [1]]}),
    ):
        with pytest.raises(ValueError, match=r"^gamma: the focal loss needs class targets"):
            ss.cross_entropy(x, target, gamma=1.0, **options)
    for bad in (-1.0, np.inf, np.nan):
        with pytest.raises(
            ValueError, match=r"^gamma: expected a finite number of at least 0, got"
        ):
            ss.cross_entropy(x, [0, 1], gamma=bad)
    with pytest.raises(TypeError, match=r"^gamma: expected a number, got str"):
        ss.cross_entropy(x, [0, 1], gamma="2")
