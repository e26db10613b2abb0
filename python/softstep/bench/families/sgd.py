"""The SGD step with momentum and weight decay over a list of tensors, the gradients given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

import softstep as ss
from softstep.bench.arrays import aligned
from softstep.bench.contender import BEST, OWN, Call, Contender, Outcome
from softstep.bench.families import sgd_peers as peers
from softstep.bench.families.sgd_peers import DECAY, LR, MOMENTUM
from softstep.bench.streams import update_stream


class Update:
    """Parameters that every contender updates in place, and their gradients.

    A contender owns its momentum. The gradients never change, so it tends to
    ``gradient / (1 - momentum)`` however many steps are timed.
    """

    # The first step starts the momentum, the second one uses it.
    verified_calls = 2
    tolerance = 1e-6

    def __init__(self, shapes: Sequence[tuple[int, ...]]) -> None:
        rng = np.random.default_rng(0)
        self.first = [_normal(rng, shape) for shape in shapes]
        self.gradients = [_normal(rng, shape) for shape in shapes]
        self.parameters = [aligned(array) for array in self.first]
        self.elements = sum(array.size for array in self.first)

    @cached_property
    def expected(self) -> dict[str, NDArray[Any]]:
        """The parameters after two steps."""
        result = {}
        for k, (p, g) in enumerate(zip(self.first, self.gradients, strict=True)):
            once = p - LR * (g + DECAY * p.astype(np.float64))
            momentum = MOMENTUM * (g + DECAY * p.astype(np.float64)) + g + DECAY * once
            result[str(k)] = once - LR * momentum
        return result

    def restore(self) -> None:
        """Undo the updates."""
        for parameter, first in zip(self.parameters, self.first, strict=True):
            np.copyto(parameter, first)

    def outcome(self, parameters: Sequence[Any]) -> Outcome:
        """Name each tensor."""
        return {str(k): parameter for k, parameter in enumerate(parameters)}


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    return aligned(rng.standard_normal(shape, dtype=np.float32))


def build(**options: Any) -> Update:
    """Make the arrays."""
    return Update(**options)


def _roofline(problem: Update, _: object) -> Iterator[Contender]:
    yield update_stream(problem.elements, "float32")


def _softstep(problem: Update, _: object) -> Iterator[Contender]:
    def build() -> Call:
        sgd = ss.SGD(problem.parameters, LR, momentum=MOMENTUM, weight_decay=DECAY)
        return Call(
            lambda: sgd.step(problem.gradients), lambda _: problem.outcome(problem.parameters)
        )

    yield Contender(OWN, BEST, "SGD.step", build)


CONTENDERS = {"roofline": _roofline, OWN: _softstep, **peers.CONTENDERS}
