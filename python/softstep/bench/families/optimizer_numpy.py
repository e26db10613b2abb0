"""The steps of SGD and AdamW by NumPy alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softstep.bench.contender import BEST, WRITTEN, Call, Contender
from softstep.bench.families.optimizer_problem import BETAS, DECAY, EPS, LR, MOMENTUM, Update

Array = NDArray[Any]


def contenders(problem: Update, _: object) -> Iterator[Contender]:
    """Yield plain steps in float32; half precision NumPy would convert in each operation."""
    if problem.half or problem.whole:
        return
    if problem.rule == "SGD":
        yield Contender("numpy", WRITTEN, "expressions", lambda: _call(problem, _sgd_written))
        yield Contender("numpy", BEST, "in place", lambda: _call(problem, _sgd_in_place))
    else:
        yield Contender("numpy", WRITTEN, "expressions", lambda: _call(problem, _adamw_written))
        yield Contender("numpy", BEST, "in place", lambda: _call(problem, _adamw_in_place))


def _call(problem: Update, make: Callable[[Update], Callable[[], None]]) -> Call:
    return Call(make(problem), lambda _: problem.in_place())


def _zeros(problem: Update) -> list[Array]:
    return [np.zeros_like(p) for p in problem.parameters]


def _scratch(problem: Update) -> list[Array]:
    """Return for each tensor a view of the same memory."""
    memory = np.zeros(max(p.size for p in problem.parameters), np.float32)
    return [memory[: p.size].reshape(p.shape) for p in problem.parameters]


def _sgd_written(problem: Update) -> Callable[[], None]:
    tensors, buffers = (
        list(zip(problem.parameters, problem.gradients, strict=True)),
        _zeros(problem),
    )

    def run() -> None:
        for k, (p, g) in enumerate(tensors):
            buffers[k] = MOMENTUM * buffers[k] + g + DECAY * p
            p -= LR * buffers[k]

    return run


def _sgd_in_place(problem: Update) -> Callable[[], None]:
    parts = problem.parameters, problem.gradients, _zeros(problem), _scratch(problem)
    tensors = list(zip(*parts, strict=True))

    def run() -> None:
        for p, g, buffer, temporary in tensors:
            np.multiply(p, DECAY, out=temporary)
            temporary += g
            buffer *= MOMENTUM
            buffer += temporary
            np.multiply(buffer, LR, out=temporary)
            p -= temporary

    return run


def _adamw_written(problem: Update) -> Callable[[], None]:
    tensors = list(zip(problem.parameters, problem.gradients, strict=True))
    means, squares = _zeros(problem), _zeros(problem)
    steps = 0

    def run() -> None:
        nonlocal steps
        steps += 1
        first, second = (1 - beta**steps for beta in BETAS)
        for k, (p, g) in enumerate(tensors):
            means[k] = BETAS[0] * means[k] + (1 - BETAS[0]) * g
            squares[k] = BETAS[1] * squares[k] + (1 - BETAS[1]) * g**2
            p *= 1 - LR * DECAY
            p -= LR * (means[k] / first) / (np.sqrt(squares[k] / second) + EPS)

    return run


def _adamw_in_place(problem: Update) -> Callable[[], None]:
    parts = problem.parameters, problem.gradients, _zeros(problem), _zeros(problem)
    tensors = list(zip(*parts, _scratch(problem), strict=True))
    steps = 0

    def run() -> None:
        nonlocal steps
        steps += 1
        first, second = (1 - beta**steps for beta in BETAS)
        for p, g, mean, square, temporary in tensors:
            mean *= BETAS[0]
            np.multiply(g, 1 - BETAS[0], out=temporary)
            mean += temporary
            square *= BETAS[1]
            np.multiply(g, g, out=temporary)
            temporary *= 1 - BETAS[1]
            square += temporary
            np.divide(square, second, out=temporary)
            np.sqrt(temporary, out=temporary)
            temporary += EPS
            np.divide(mean, temporary, out=temporary)
            temporary *= LR / first
            p *= 1 - LR * DECAY
            p -= temporary

    return run
