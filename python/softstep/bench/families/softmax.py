"""softmax, log_softmax and logsumexp of rows of logits, forward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

import softstep as ss
from softstep.bench.arrays import aligned, touched
from softstep.bench.contender import BEST, OWN, WRITTEN, Call, Contender, Contenders, Outcome
from softstep.bench.streams import copy_stream, read_stream

TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


class Rows:
    """Logits (rows, classes) and the result of ``function``."""

    verified_calls = 1

    def __init__(self, function: str, shape: tuple[int, int], dtype: str) -> None:
        rng = np.random.default_rng(0)
        self.function = function
        self.logits = aligned(rng.standard_normal(shape, dtype=np.dtype(dtype)))
        self.logits *= 3
        self.first = self.logits.copy()
        self.reduces = function == "logsumexp"
        self.out = touched(shape[:1] if self.reduces else shape, dtype)
        self.elements = self.logits.size
        self.tolerance = TOLERANCE[dtype]
        self.expected = {"y": _reference(function, self.logits)}

    def restore(self) -> None:
        """Write the logits again: nobody changes them, but a model has just written them too."""
        np.copyto(self.logits, self.first)


def _reference(function: str, logits: NDArray[Any]) -> Any:
    x = logits.astype(np.float64)
    largest = x.max(axis=-1, keepdims=True)
    x -= largest
    if function == "log_softmax":
        return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))
    np.exp(x, out=x)
    total = x.sum(axis=-1, keepdims=True)
    return x / total if function == "softmax" else (largest + np.log(total))[:, 0]


def build(**options: Any) -> Rows:
    """Make the arrays."""
    return Rows(**options)


def _result(y: Any) -> Outcome:
    return {"y": y}


def _call(run: Callable[[], Any]) -> Callable[[], Call]:
    return lambda: Call(run, _result)


def _roofline(problem: Rows, _: object) -> Iterator[Contender]:
    if problem.reduces:
        yield read_stream(problem.logits)
    else:
        yield copy_stream(problem.out, problem.logits)


def _softstep(problem: Rows, _: object) -> Iterator[Contender]:
    function, x, out = getattr(ss, problem.function), problem.logits, problem.out
    yield Contender(OWN, BEST, "out=", _call(lambda: function(x, out=out)))
    yield Contender(OWN, WRITTEN, "new array", _call(lambda: function(x)))


def _numpy(problem: Rows, _: object) -> Iterator[Contender]:
    x, out = problem.logits, problem.out
    scratch = np.empty_like(x) if problem.function != "softmax" else out

    def softmax(reuse: bool) -> Any:
        exps = np.subtract(x, x.max(axis=-1, keepdims=True), out=scratch if reuse else None)
        exps = np.exp(exps, out=exps if reuse else None)
        return np.divide(exps, exps.sum(axis=-1, keepdims=True), out=out if reuse else None)

    def log_softmax(reuse: bool) -> Any:
        shifted = np.subtract(x, x.max(axis=-1, keepdims=True), out=out if reuse else None)
        exps = np.exp(shifted, out=scratch if reuse else None)
        log_total = np.log(exps.sum(axis=-1, keepdims=True))
        return np.subtract(shifted, log_total, out=out if reuse else None)

    def logsumexp(reuse: bool) -> Any:
        largest = x.max(axis=-1, keepdims=True)
        exps = np.subtract(x, largest, out=scratch if reuse else None)
        exps = np.exp(exps, out=exps if reuse else None)
        return np.add(np.log(exps.sum(axis=-1)), largest[:, 0], out=out if reuse else None)

    run = {"softmax": softmax, "log_softmax": log_softmax, "logsumexp": logsumexp}[problem.function]
    yield Contender("numpy", WRITTEN, "new arrays", _call(lambda: run(False)))
    yield Contender("numpy", BEST, "out=", _call(lambda: run(True)))


def _scipy(problem: Rows, special: Any) -> Iterator[Contender]:
    function, x = getattr(special, problem.function), problem.logits
    yield Contender("scipy", WRITTEN, "scipy.special", _call(lambda: function(x, axis=-1)))


def _torch_functions(torch: Any) -> dict[str, Any]:
    return {
        "softmax": torch.softmax,
        "log_softmax": torch.log_softmax,
        "logsumexp": torch.logsumexp,
    }


def _torch(problem: Rows, torch: Any) -> Iterator[Contender]:
    function = _torch_functions(torch)[problem.function]
    x, out = torch.from_numpy(problem.logits), torch.from_numpy(problem.out)
    yield Contender("torch", WRITTEN, "new array", _call(lambda: function(x, -1)))
    yield Contender("torch", BEST, "out=", _call(lambda: function(x, -1, out=out)))


def _compiled(problem: Rows, torch: Any) -> Iterator[Contender]:
    function = _torch_functions(torch)[problem.function]
    x, out = torch.from_numpy(problem.logits), torch.from_numpy(problem.out)

    # Another case's graphs would make it try shapes that are not fixed.
    torch._dynamo.reset()

    def build(step: Any, *arguments: Any) -> Call:
        compiled = torch.compile(step, dynamic=False)
        return Call(lambda: compiled(*arguments), _result)

    def into(x: Any, out: Any) -> Any:
        return out.copy_(function(x, -1))

    yield Contender(
        "torch.compile", WRITTEN, "new array", lambda: build(lambda x: function(x, -1), x)
    )
    yield Contender("torch.compile", BEST, "into an array", lambda: build(into, x, out))


def _jax(problem: Rows, jax: Any) -> Iterator[Contender]:
    function = getattr(jax.nn, problem.function)

    def build(donate: bool) -> Call:
        step = jax.jit(lambda x: function(x, axis=-1), donate_argnums=0 if donate else ())
        x = jax.dlpack.from_dlpack(problem.logits)

        def copy() -> None:
            # A donated array is gone after the call: its memory holds the result.
            nonlocal x
            x = jax.block_until_ready(jax.numpy.array(problem.first))

        def donated() -> Any:
            nonlocal x
            x = jax.block_until_ready(step(x))
            return x

        if donate:
            return Call(donated, _result, copy)
        return Call(lambda: jax.block_until_ready(step(x)), _result)

    yield Contender("jax", WRITTEN, "new array", lambda: build(False))
    if not problem.reduces:
        yield Contender("jax", BEST, "donated", lambda: build(True))


CONTENDERS: dict[str, Contenders] = {
    "roofline": _roofline,
    OWN: _softstep,
    "numpy": _numpy,
    "scipy": _scipy,
    "torch": _torch,
    "torch.compile": _compiled,
    "jax": _jax,
}
