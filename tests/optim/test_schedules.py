"""Schedules: callables of the step, given to an optimizer as its rate."""

import itertools
import math
import pickle
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import softstep as ss
from softstep import schedules


def test_constant() -> None:
    assert [schedules.constant(0.3)(t) for t in (0, 1, 10**9)] == [0.3] * 3


@pytest.mark.parametrize("power", [0.0, 0.5, 0.75, 1.0, 2.0])
def test_inverse_time(power: float) -> None:
    alpha = schedules.inverse_time(0.8, 0.25, power=power)
    assert [alpha(t) for t in (0, 4, 12)] == pytest.approx(
        [0.8, 0.8 / 2**power, 0.8 / 4**power], rel=1e-15
    )


def test_inverse_time_meets_the_conditions_of_robbins_and_monro() -> None:
    """Each doubling of t adds as much to the sum again, and half as much to the squares' sum."""
    alpha = schedules.inverse_time(1.0, 1.0)
    ends = [2**k - 1 for k in range(6, 16)]
    parts = [[alpha(t) for t in range(a, b)] for a, b in itertools.pairwise(ends)]
    assert all(0.68 < sum(part) < 0.71 for part in parts)  # ln 2 each: the sum grows for ever
    squares = [math.fsum(a * a for a in part) for part in parts]
    assert all(0.49 < later / sooner < 0.51 for sooner, later in itertools.pairwise(squares))


def test_cosine_goes_from_end_to_end_and_stays() -> None:
    alpha = schedules.cosine(0.5, 8, final=0.1)
    assert alpha(0) == 0.5
    assert alpha(4) == pytest.approx(0.3, rel=1e-15)
    assert alpha(2) == pytest.approx(0.1 + 0.4 * (1 + math.sqrt(0.5)) / 2, rel=1e-15)
    values = [alpha(t) for t in range(9)]
    assert values == sorted(values, reverse=True)
    assert [alpha(t) for t in (8, 9, 16, 10**6)] == [0.1] * 4
    for t in range(9):  # symmetric about the middle
        assert alpha(t) + alpha(8 - t) == pytest.approx(0.6, rel=1e-15)


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_warmup_climbs_evenly_to_what_follows(steps: int) -> None:
    followed = schedules.inverse_time(0.6, 0.1)
    alpha = schedules.warmup(followed, steps)
    for t in range(steps):
        assert alpha(t) == pytest.approx(float(Fraction(t + 1, steps + 1)) * 0.6, rel=1e-15)
    assert [alpha(steps + t) for t in range(20)] == [followed(t) for t in range(20)]
    assert schedules.warmup(0.6, steps)(steps + 3) == 0.6


def test_warmup_of_any_callable() -> None:
    alpha = schedules.warmup(schedules.warmup(lambda t: 1.0 + t, 1), 1)
    assert [alpha(t) for t in range(5)] == [0.25, 0.5, 1.0, 2.0, 3.0]


def test_a_schedule_can_be_pickled_and_takes_numpy_steps() -> None:
    for alpha in (
        schedules.constant(0.1),
        schedules.inverse_time(0.1, 0.5, power=0.6),
        schedules.warmup(schedules.cosine(0.1, 10), 3),
    ):
        copy = pickle.loads(pickle.dumps(alpha))
        assert [copy(t) for t in range(15)] == [alpha(np.int64(t)) for t in range(15)]
        assert isinstance(alpha(0), float)


def test_an_optimizer_follows_a_schedule() -> None:
    w = np.zeros(3)
    alpha = schedules.warmup(schedules.cosine(0.5, 4), 2)
    sgd = ss.SGD([w], alpha)
    for _ in range(6):
        sgd.step([np.ones(3)])
    np.testing.assert_allclose(w, -math.fsum(alpha(t) for t in range(6)), rtol=1e-15)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.constant(-1.0), "^initial: expected a finite number of at least 0"),
        (lambda: schedules.constant(math.nan), "^initial: expected a finite number"),
        (lambda: schedules.inverse_time(0.1, -0.5), "^decay: expected a finite number"),
        (lambda: schedules.inverse_time(0.1, 0.5, power=math.inf), "^power: expected a finite"),
        (lambda: schedules.cosine(0.1, 0), "^steps: expected a whole number of at least 1, got 0"),
        (lambda: schedules.cosine(0.1, 5, final=-0.1), "^final: expected a finite number"),
        (lambda: schedules.warmup(0.1, -1), "^steps: expected a whole number of at least 0"),
        (lambda: schedules.warmup(-0.1, 1), "^initial: expected a finite number"),
    ],
)
def test_bad_numbers_are_refused_when_the_schedule_is_made(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_steps_are_whole() -> None:
    for make in (schedules.cosine, schedules.warmup):
        with pytest.raises(TypeError, match=r"^steps: expected a whole number, got 2\.5"):
            make(0.1, 2.5)  # type: ignore[arg-type]
