"""A step of SGD or AdamW over a list of tensors, the gradients given.

A plain step decays and updates; a whole one clips the global norm first and zeroes the gradients
last, as a training step does between two backward passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import softstep as ss
from softstep.bench.contender import BEST, OWN, Call, Contender
from softstep.bench.families import optimizer_frameworks, optimizer_numpy
from softstep.bench.families.optimizer_problem import BETAS, DECAY, EPS, LR, MOMENTUM, Update
from softstep.bench.streams import update_stream


def build(rule: str, shapes: Any, dtype: str, whole: bool) -> Update:
    """Make the arrays."""
    return Update(rule, shapes, dtype, whole=whole)


def _roofline(problem: Update, _: object) -> Iterator[Contender]:
    # Of each element: the parameter is read and written, the gradient read; the float32 states are
    # read and written. A whole step reads the gradient once more, for the norm, and writes it.
    size = problem.first[0].itemsize
    states = 1 if problem.rule == "SGD" else 2
    moved = (5 if problem.whole else 3) * size + states * 2 * 4
    yield update_stream(-(-problem.elements * moved // 20), "float32")


def _softstep(problem: Update, _: object) -> Iterator[Contender]:
    options: dict[str, Any] = {"weight_decay": DECAY, "max_norm": problem.max_norm}
    if problem.rule == "SGD":
        options["momentum"] = MOMENTUM
    else:
        options |= {"betas": BETAS, "eps": EPS}

    def build(tolerance: float | None = None, **ways: Any) -> Call:
        optimizer = getattr(ss, problem.rule)(problem.parameters, LR, **options, **ways)

        def run() -> None:
            optimizer.step(problem.gradients, zero_grads=problem.whole)

        return Call(run, lambda _: problem.in_place(), tolerance=tolerance)

    yield Contender(OWN, BEST, "step", build)
    if problem.half:
        yield Contender(OWN, BEST, "bfloat16 state", lambda: build(state_dtype="bfloat16"))
        # Up or down: off by a whole unit instead of half of one.
        yield Contender(
            OWN,
            BEST,
            "stochastic rounding",
            lambda: build(2 * problem.tolerance, stochastic_rounding=True),
        )


CONTENDERS = {
    "roofline": _roofline,
    OWN: _softstep,
    "numpy": optimizer_numpy.contenders,
    **optimizer_frameworks.CONTENDERS,
}
