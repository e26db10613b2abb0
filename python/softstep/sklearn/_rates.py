"""The rate of each step of a fit, and when the fit ends."""

from __future__ import annotations

from typing import Protocol

from softstep import schedules
from softstep.schedules import Schedule

# What scikit-learn's "adaptive" divides the rate by, and where it ends.
DIVISOR, SMALLEST = 5.0, 1e-6
# Epochs for the noise to average out, however early the loss stalls.
SHORTEST_FALL = 20


class Rate(Protocol):
    """A rate, told after each epoch how many there were, and whether the loss has stalled."""

    converged: bool

    def __call__(self, step: int) -> float:
        """Return the rate of a step."""
        ...

    def after(self, epochs: int, stalled: bool) -> bool:
        """Return whether to stop."""
        ...


class Steady:
    """Follows a schedule until the loss stalls."""

    def __init__(self, schedule: Schedule) -> None:
        self.converged = False
        self._schedule = schedule

    def __call__(self, step: int) -> float:
        """Return the schedule's."""
        return self._schedule(step)

    def after(self, epochs: int, stalled: bool) -> bool:
        """Stop where the loss has stalled."""
        self.converged = stalled
        return stalled


class Adaptive:
    """A fifth each time that the loss stalls, until it is tiny."""

    def __init__(self, lr: float) -> None:
        self.converged = False
        self._lr = lr

    def __call__(self, step: int) -> float:
        """Return the rate as it is by now."""
        return self._lr

    def after(self, epochs: int, stalled: bool) -> bool:
        """Divide the rate."""
        if stalled:
            self._lr /= DIVISOR
        self.converged = self._lr <= SMALLEST
        return self.converged


class Falling:
    """Stays until the loss stalls or half of the epochs is over, then falls to 0 in as many.

    The fall has `SHORTEST_FALL` epochs, if there are: less leave the noise in. So more epochs
    prolong both parts and never cut one: once the loss stalls, every larger ``epochs`` gives the
    same steps.
    """

    def __init__(self, lr: float, epochs: int, epoch_steps: int) -> None:
        self.converged = False
        self._lr = lr
        self._epoch_steps = epoch_steps
        self._schedule = schedules.constant(lr)
        self._start = 0
        self._falls = False
        self._end = epochs
        self.after(0, stalled=False)

    def __call__(self, step: int) -> float:
        """Return the rate, or that of the fall."""
        return self._schedule(step - self._start)

    def after(self, epochs: int, stalled: bool) -> bool:
        """Begin to fall; stop where the rate is 0."""
        fall = max(self._end / 2, SHORTEST_FALL)
        if not self._falls and (stalled or epochs + 1 > self._end - fall):
            self.converged = stalled
            self._falls = True
            if stalled:
                self._end = min(self._end, epochs + max(epochs, SHORTEST_FALL))
            self._start = epochs * self._epoch_steps
            steps = (self._end - epochs) * self._epoch_steps
            self._schedule = schedules.cosine(self._lr, steps)
        return epochs >= self._end


def rate_of(
    kind: str, lr: float, power: float, epochs: int, epoch_steps: int, batch_size: int, seen: int
) -> Rate:
    """Return the rate by its name in an estimator, after so many rows in earlier fits."""
    if kind == "adaptive":
        return Adaptive(lr)
    if kind == "constant":
        return Steady(schedules.constant(lr))
    if kind == "invscaling":
        falling = schedules.inverse_time(lr, 1.0, power=power)
        return Steady(lambda step: falling(seen + step * batch_size))
    return Falling(lr, epochs, epoch_steps)
