"""Cross-entropy of class indices, loss and gradient: ``(loss, dlogits)`` of a mean over rows.

In half precision it is the sum over rows: the gradient of a mean would vanish in float16, which is
why training in float16 scales the loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

import softstep as ss
import softstep._core as _core
from softstep.bench.arrays import aligned, is_half, named_dtype, touched
from softstep.bench.contender import BEST, KERNEL, OWN, ROOFLINE, WRITTEN, Call, Contender, Outcome
from softstep.bench.families import cross_entropy_frameworks, cross_entropy_numpy
from softstep.bench.streams import scale_stream

# Half precision: a gradient rounded once, 2**-11 and 2**-8; float16's smallest are subnormal.
TOLERANCE = {"float16": 2e-3, "bfloat16": 4e-3, "float32": 2e-5, "float64": 1e-12}
# Arrays of fewer elements live in the first caches: the overhead of a call is all there is to see.
STREAMED = 1 << 16


class CrossEntropy:
    """Logits of any shape with the classes along ``axis``, and one class index per row."""

    verified_calls = 1

    def __init__(self, shape: tuple[int, ...], dtype: str, axis: int) -> None:
        rng = np.random.default_rng(0)
        type_ = named_dtype(dtype)
        normal = rng.standard_normal(shape, "f8" if type_.itemsize == 8 else "f4")
        normal *= 3
        self.first = aligned(normal.astype(type_, copy=False))
        self.logits = aligned(self.first)
        self.axis = axis
        rows = np.delete(shape, axis)
        self.target = aligned(rng.integers(shape[axis], size=rows))
        # The target with the class axis, as NumPy's *_along_axis want it.
        self.index = np.expand_dims(self.target, axis)
        # All classes along the class axis: equal to the index at the target, in any order of loops.
        self.classes = np.arange(shape[axis]).reshape(
            [-1 if k == axis % len(shape) else 1 for k in range(len(shape))]
        )
        self.out = touched(shape, type_)
        self.elements = self.logits.size
        self.rows = self.target.size
        self.reduction = "sum" if is_half(self.first) else "mean"
        # The loss is the sum over the rows, divided by this.
        self.divisor = 1 if self.reduction == "sum" else self.rows
        self.tolerance = TOLERANCE[dtype]

    @cached_property
    def expected(self) -> dict[str, NDArray[Any]]:
        """The float64 reference."""
        return _reference(self.first, self.index, self.axis, self.divisor)

    def restore(self) -> None:
        """Undo what in-place contenders did to the logits."""
        np.copyto(self.logits, self.first)

    def outcome(self, returned: tuple[Any, Any]) -> Outcome:
        """Name the parts of ``(loss, dlogits)``."""
        return {"loss": returned[0], "dlogits": returned[1]}


def _reference(
    logits: NDArray[Any], index: NDArray[Any], axis: int, divisor: int
) -> dict[str, NDArray[Any]]:
    gradient = logits.astype(np.float64)
    gradient -= gradient.max(axis=axis, keepdims=True)
    chosen = np.take_along_axis(gradient, index, axis)
    np.exp(gradient, out=gradient)
    total = gradient.sum(axis=axis, keepdims=True)
    loss = np.sum(np.log(total) - chosen) / divisor
    gradient /= total
    np.put_along_axis(gradient, index, np.take_along_axis(gradient, index, axis) - 1, axis)
    gradient /= divisor
    return {"loss": loss, "dlogits": gradient}


def build(**options: Any) -> CrossEntropy:
    """Make the arrays."""
    return CrossEntropy(**options)


def _softstep(problem: CrossEntropy, _: object) -> Iterator[Contender]:
    x, t, axis, out = problem.logits, problem.target, problem.axis, problem.out

    def call(**keywords: Any) -> Call:
        keywords |= {"axis": axis, "reduction": problem.reduction}
        run = lambda: ss.cross_entropy_with_grad(x, t, **keywords)  # noqa: E731
        return Call(run, problem.outcome)

    yield Contender(OWN, BEST, "in place", lambda: call(out=x))
    yield Contender(OWN, BEST, "out=", lambda: call(out=out))
    yield Contender(OWN, WRITTEN, "new array", lambda: call())


def _roofline(problem: CrossEntropy, _: object) -> Iterator[Contender]:
    if problem.elements >= STREAMED:
        yield scale_stream(problem.logits, problem.first)
    else:
        yield Contender(ROOFLINE, WRITTEN, KERNEL, lambda: _kernel_alone(problem))


def _kernel_alone(problem: CrossEntropy) -> Call:
    calls = 1000

    def run() -> None:
        _core.cross_entropy_alone(problem.logits, problem.target, problem.out, calls)

    expected = {"dlogits": problem.expected["dlogits"]}
    return Call(run, lambda _: {"dlogits": problem.out}, expected=expected, calls=calls)


CONTENDERS = {
    "roofline": _roofline,
    OWN: _softstep,
    **cross_entropy_numpy.CONTENDERS,
    **cross_entropy_frameworks.CONTENDERS,
}
