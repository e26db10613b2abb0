r"""Schedules: a number as a function of the step, for a rate or a weight decay.

An optimizer takes a callable wherever it takes a rate or a decay, and calls it with the number of
steps done so far, 0 first. The ones here are plain functions of the step: they hold no state, can
be pickled, and a training that is resumed needs to know its step alone. Any other callable will do.

>>> from softstep import schedules
>>> alpha = schedules.warmup(schedules.cosine(0.1, steps=90), steps=10)
>>> [round(alpha(t), 4) for t in (0, 9, 10, 55, 100)]
[0.0091, 0.0909, 0.1, 0.05, 0.0]
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from operator import index
from typing import TypeAlias

from softstep.optim.options import not_negative

Schedule: TypeAlias = Callable[[int], float]

__all__ = ["Schedule", "constant", "cosine", "inverse_time", "warmup"]


def constant(initial: float) -> Schedule:
    """``alpha_t = initial``.

    Examples
    --------
    >>> from softstep import schedules
    >>> schedules.constant(0.1)(1000)
    0.1
    """
    return partial(_constant, not_negative("initial", initial))


def inverse_time(initial: float, decay: float, *, power: float = 1.0) -> Schedule:
    r"""``alpha_t = initial / (1 + decay * t)**power``.

    For a ``decay`` above 0 and ``1/2 < power <= 1`` it meets the conditions of Robbins and Monro,
    ``sum(alpha_t) = inf`` and ``sum(alpha_t**2) < inf``: far enough to get anywhere, and yet the
    noise of the gradients averages out.

    Parameters
    ----------
    initial : float
        The value at ``t = 0``, at least 0.
    decay : float
        At least 0; after ``1 / decay`` steps ``initial`` is divided by ``2**power``.
    power : float
        At least 0.

    Raises
    ------
    ValueError
        For a number that is negative or not finite.

    References
    ----------
    H. Robbins and S. Monro, "A stochastic approximation method", 1951.

    Examples
    --------
    >>> from softstep import schedules
    >>> alpha = schedules.inverse_time(0.1, decay=0.01)
    >>> alpha(0), alpha(100), alpha(300)
    (0.1, 0.05, 0.025)
    """
    checked = not_negative("initial", initial), not_negative("decay", decay)
    return partial(_inverse_time, *checked, not_negative("power", power))


def cosine(initial: float, steps: int, *, final: float = 0.0) -> Schedule:
    """Half a cosine: ``alpha_t = final + (initial - final) * (1 + cos(pi * t / steps)) / 2``.

    Parameters
    ----------
    initial, final : float
        The values at ``t = 0`` and from ``t = steps`` on, at least 0.
    steps : int
        At least 1.

    Raises
    ------
    TypeError, ValueError
        For numbers that do not fit.

    References
    ----------
    I. Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017,
    without the restarts.

    Examples
    --------
    >>> from softstep import schedules
    >>> alpha = schedules.cosine(0.1, steps=100, final=0.02)
    >>> [round(alpha(t), 4) for t in (0, 50, 100, 101)]
    [0.1, 0.06, 0.02, 0.02]
    """
    checked = not_negative("initial", initial), not_negative("final", final)
    return partial(_cosine, *checked, _whole("steps", steps))


def warmup(schedule: float | Schedule, steps: int) -> Schedule:
    """Climb in equal steps to the first value of ``schedule``, then follow it.

    ``alpha_t = schedule(0) * (t + 1) / (steps + 1)`` for ``t < steps``, then
    ``alpha_t = schedule(t - steps)``. No step is lost to a rate of 0.

    Parameters
    ----------
    schedule : callable or float
        What follows, counted from its own step 0; a number stays as it is.
    steps : int
        Steps below ``schedule(0)``, at least 0.

    Raises
    ------
    TypeError, ValueError
        For arguments that do not fit.

    Examples
    --------
    >>> from softstep import schedules
    >>> alpha = schedules.warmup(schedules.inverse_time(1.0, decay=0.5), steps=3)
    >>> [alpha(t) for t in range(6)]
    [0.25, 0.5, 0.75, 1.0, 0.6666666666666666, 0.5]
    """
    following = schedule if callable(schedule) else constant(schedule)
    return partial(_warmup, following, _whole("steps", steps, least=0))


def _constant(initial: float, t: int) -> float:
    return initial


def _inverse_time(initial: float, decay: float, power: float, t: int) -> float:
    return initial / float((1 + decay * t) ** power)


def _cosine(initial: float, final: float, steps: int, t: int) -> float:
    if t >= steps:  # exactly, and without a second period
        return final
    return final + (initial - final) * (1 + math.cos(math.pi * t / steps)) / 2


def _warmup(schedule: Schedule, steps: int, t: int) -> float:
    if t < steps:
        return schedule(0) * (t + 1) / (steps + 1)
    return schedule(t - steps)


def _whole(name: str, value: int, least: int = 1) -> int:
    try:
        number = index(value)
    except TypeError:
        raise TypeError(f"{name}: expected a whole number, got {value!r}") from None
    if number < least:
        raise ValueError(f"{name}: expected a whole number of at least {least}, got {number}")
    return number
