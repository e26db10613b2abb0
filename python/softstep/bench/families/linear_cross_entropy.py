"""The head of a large-vocabulary model: ``hidden @ weight.T``, cross-entropy and its gradients.

The mean over rows of class-index targets; gradients with respect to hidden and weight.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

import softstep as ss
from softstep.bench.arrays import aligned, touched
from softstep.bench.contender import BEST, OWN, ROOFLINE, WRITTEN, Call, Contender, Outcome
from softstep.bench.families import linear_cross_entropy_peers as peers
from softstep.bench.families.linear_cross_entropy_peers import called

# Rows of float64 logits at a time in the reference.
CHUNK = 64


class Head:
    """Hidden (rows, width), weight (classes, width) and one class index per row."""

    verified_calls = 1
    # float32 products of up to `classes` terms, next to gradients that are mostly small.
    tolerance = 1e-4

    def __init__(self, rows: int, width: int, classes: int) -> None:
        rng = np.random.default_rng(0)
        self.hidden = aligned(rng.standard_normal((rows, width), np.float32))
        self.weight = aligned(rng.standard_normal((classes, width), np.float32))
        # Logits with a deviation of 2, as of a model that has learned something.
        self.weight *= np.float32(2 / np.sqrt(width))
        self.target = aligned(rng.integers(classes, size=rows))
        self.dhidden = touched(self.hidden.shape, np.float32)
        self.dweight = touched(self.weight.shape, np.float32)
        self.elements = rows * classes
        self.expected = _reference(self)

    def restore(self) -> None:
        """Nobody writes over what the others read."""

    def outcome(self, returned: tuple[Any, Any, Any]) -> Outcome:
        """Name the parts of ``(loss, dhidden, dweight)``."""
        return dict(zip(("loss", "dhidden", "dweight"), returned, strict=True))


def _reference(problem: Head) -> dict[str, NDArray[Any]]:
    weight = problem.weight.astype(np.float64)
    dhidden = np.empty(problem.hidden.shape)
    dweight = np.zeros(weight.shape)
    loss, rows = 0.0, len(problem.hidden)
    for first in range(0, rows, CHUNK):
        part = slice(first, first + CHUNK)
        hidden = problem.hidden[part].astype(np.float64)
        target = problem.target[part, None]
        x = hidden @ weight.T
        x -= x.max(axis=1, keepdims=True)
        chosen = np.take_along_axis(x, target, 1)
        np.exp(x, out=x)
        total = x.sum(axis=1, keepdims=True)
        loss += float(np.sum(np.log(total) - chosen))
        x /= total
        np.put_along_axis(x, target, np.take_along_axis(x, target, 1) - 1, 1)
        x /= rows
        dhidden[part] = x @ weight
        dweight += x.T @ hidden
    return {"loss": np.array(loss / rows), "dhidden": dhidden, "dweight": dweight}


def build(**options: Any) -> Head:
    """Make the arrays."""
    return Head(**options)


def _softstep(problem: Head, _: object) -> Iterator[Contender]:
    hidden, weight, target = problem.hidden, problem.weight, problem.target

    def call(**buffers: Any) -> Call:
        # The memory that the first call then takes is this contender's own.
        ss.release_workspace()

        def run() -> Any:
            return ss.linear_cross_entropy_with_grad(
                hidden, weight, target, grads=("hidden", "weight"), **buffers
            )

        return called(run, lambda r: problem.outcome((r[0], r[1].dhidden, r[1].dweight)))

    def dense() -> Call:
        logits = np.empty((len(hidden), len(weight)), np.float32)

        def run() -> Any:
            np.matmul(hidden, weight.T, out=logits)
            loss, _ = ss.cross_entropy_with_grad(logits, target, out=logits)
            np.matmul(logits, weight, out=problem.dhidden)
            np.matmul(logits.T, hidden, out=problem.dweight)
            return loss, problem.dhidden, problem.dweight

        return called(run, problem.outcome)

    given = {"dhidden": problem.dhidden, "dweight": problem.dweight}
    yield Contender(OWN, BEST, "gradients given", lambda: call(**given))
    yield Contender(OWN, WRITTEN, "new arrays", call)
    yield Contender(OWN, WRITTEN, "NumPy's products, cross-entropy in place", dense)


def _roofline(problem: Head, _: object) -> Iterator[Contender]:
    """Yield the three matrix products alone, by NumPy: the loss comes on top."""

    def build() -> Call:
        hidden, weight = problem.hidden, problem.weight
        logits = np.empty((len(hidden), len(weight)), np.float32)

        def run() -> None:
            np.matmul(hidden, weight.T, out=logits)
            np.matmul(logits, weight, out=problem.dhidden)
            np.matmul(logits.T, hidden, out=problem.dweight)

        h, w = hidden.astype(np.float64), weight.astype(np.float64)
        expected = {"dhidden": h @ (w.T @ w), "dweight": w @ (h.T @ h)}
        return Call(
            run,
            lambda _: {"dhidden": problem.dhidden, "dweight": problem.dweight},
            expected=expected,
        )

    yield Contender(ROOFLINE, WRITTEN, "three bare products", build)


CONTENDERS = {"roofline": _roofline, OWN: _softstep, **peers.CONTENDERS}
