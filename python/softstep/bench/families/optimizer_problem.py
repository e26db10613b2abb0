"""Parameters and gradients that every optimizer of a case works on, and the float64 reference."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from softstep.bench.arrays import aligned, is_half, named_dtype
from softstep.bench.contender import Outcome
from softstep.bench.verify import CHUNK

LR, DECAY = 0.01, 0.01
MOMENTUM = 0.9  # of SGD
BETAS, EPS = (0.9, 0.999), 1e-8  # of AdamW
Array = NDArray[Any]


class Update:
    """Parameters that every contender updates in place, and their gradients.

    A contender owns its state. The gradients of a plain step never change, so the state tends to
    a limit however many steps are timed. A whole step clips the gradients to half of their norm
    first and zeroes them last; only the first call after `restore` finds any.
    """

    # The first step starts the state, the second one uses it.
    verified_calls = 2

    def __init__(
        self, rule: str, shapes: Sequence[tuple[int, ...]], dtype: str, *, whole: bool
    ) -> None:
        rng = np.random.default_rng(0)
        self.rule, self.whole = rule, whole
        self.first = [_normal(rng, shape, named_dtype(dtype)) for shape in shapes]
        self.first_gradients = [_normal(rng, shape, named_dtype(dtype)) for shape in shapes]
        self.parameters = [aligned(array) for array in self.first]
        self.gradients = self.first_gradients
        if whole:
            self.gradients = [aligned(array) for array in self.first_gradients]
        self.elements = sum(array.size for array in self.first)
        self.half = is_half(self.first[0])
        # A half-precision parameter is rounded once a step, by at most half of its eps.
        eps = 2.0**-7 if dtype == "bfloat16" else 2.0**-10
        self.tolerance = eps if self.half else 1e-6

    @cached_property
    def norm(self) -> float:
        """The 2-norm of all gradients."""
        return math.sqrt(sum(float(np.vdot(g, g)) for g in map(np.float64, self.first_gradients)))

    @property
    def max_norm(self) -> float | None:
        """What the gradients are clipped to."""
        return 0.5 * self.norm if self.whole else None

    @cached_property
    def expected(self) -> Outcome:
        """The parameters after two calls; of a whole step also the gradients."""
        if not self.whole:
            return self.after(1.0, 1.0)
        zeros = {f"gradient {k}": np.zeros(g.shape) for k, g in enumerate(self.first)}
        return {**self.after(0.5, 0.0), **zeros}

    def after(self, *factors: float) -> Outcome:
        """Return the parameters after a step for each of ``factors`` times the gradients."""
        return {str(k): self._after(k, factors) for k in range(len(self.first))}

    def _after(self, k: int, factors: Sequence[float]) -> Array:
        result = np.empty(self.first[k].shape)
        first, gradient = self.first[k].reshape(-1), self.first_gradients[k].reshape(-1)
        rule = _sgd if self.rule == "SGD" else _adamw
        for begin in range(0, first.size, CHUNK):
            part = slice(begin, begin + CHUNK)
            g = gradient[part].astype(np.float64)
            for p in rule(first[part].astype(np.float64), (factor * g for factor in factors)):
                result.reshape(-1)[part] = p
        return result

    def restore(self) -> None:
        """Undo the updates."""
        for array, first in zip(self.parameters, self.first, strict=True):
            np.copyto(array, first)
        if self.whole:
            for array, first in zip(self.gradients, self.first_gradients, strict=True):
                np.copyto(array, first)

    def outcome(self, parameters: Sequence[Any]) -> Outcome:
        """Name each tensor."""
        return {str(k): _wide(parameter) for k, parameter in enumerate(parameters)}

    def in_place(self) -> Outcome:
        """Return the outcome of a contender that wrote the shared arrays."""
        gradients = self.gradients if self.whole else []
        named = {f"gradient {k}": _wide(gradient) for k, gradient in enumerate(gradients)}
        return {**self.outcome(self.parameters), **named}


def _normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    return aligned(rng.standard_normal(shape, dtype=np.float32).astype(dtype, copy=False))


def _wide(values: Any) -> Array:
    array: Array = np.asarray(values)
    return array.astype(np.float32) if is_half(array) else array


def _sgd(p: Array, gradients: Iterator[Array]) -> Iterator[Array]:
    momentum = np.zeros_like(p)
    for g in gradients:
        momentum = MOMENTUM * momentum + g + DECAY * p
        p = p - LR * momentum
        yield p


def _adamw(p: Array, gradients: Iterator[Array]) -> Iterator[Array]:
    m, v = np.zeros_like(p), np.zeros_like(p)
    for t, g in enumerate(gradients, 1):
        m = BETAS[0] * m + (1 - BETAS[0]) * g
        v = BETAS[1] * v + (1 - BETAS[1]) * g**2
        size = np.sqrt(v / (1 - BETAS[1] ** t)) + EPS
        p = (1 - LR * DECAY) * p - LR * (m / (1 - BETAS[0] ** t)) / size
        yield p
