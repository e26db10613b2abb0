"""Loss and gradient of a softmax classifier by NumPy, SciPy and scikit-learn."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import softstep as ss
from softstep.bench.arrays import is_half
from softstep.bench.contender import BEST, WRITTEN, Call, Contender, Contenders

# scikit-learn's loss is written for few classes: one exp after the other.
MOST_SKLEARN_CLASSES = 1000


def _numpy(problem: Any, _: object) -> Iterator[Contender]:
    x, index, axis, rows = problem.logits, problem.index, problem.axis, problem.rows

    def written() -> Any:
        shifted = x - x.max(axis=axis, keepdims=True)
        exps = np.exp(shifted)
        total = exps.sum(axis=axis, keepdims=True)
        loss = np.mean(np.log(total) - np.take_along_axis(shifted, index, axis))
        gradient = exps / total
        np.put_along_axis(gradient, index, np.take_along_axis(gradient, index, axis) - 1, axis)
        return loss, gradient / rows

    def in_place() -> Any:
        np.subtract(x, x.max(axis=axis, keepdims=True), out=x)
        chosen = np.take_along_axis(x, index, axis)
        np.exp(x, out=x)
        total = x.sum(axis=axis, keepdims=True)
        loss = np.mean(np.log(total) - chosen)
        np.divide(x, total * x.dtype.type(rows), out=x)
        np.put_along_axis(
            x, index, np.take_along_axis(x, index, axis) - x.dtype.type(1 / rows), axis
        )
        return loss, x

    yield Contender("numpy", WRITTEN, "new arrays", lambda: Call(written, problem.outcome))
    yield Contender("numpy", BEST, "in place", lambda: Call(in_place, problem.outcome))


def _scipy(problem: Any, special: Any) -> Iterator[Contender]:
    x, index, axis, rows = problem.logits, problem.index, problem.axis, problem.rows

    def way(reuse: bool) -> Callable[[], Any]:
        def run() -> Any:
            log_p = special.log_softmax(x, axis=axis)
            loss = -np.mean(np.take_along_axis(log_p, index, axis))
            gradient = np.exp(log_p, out=log_p if reuse else None)
            np.put_along_axis(gradient, index, np.take_along_axis(gradient, index, axis) - 1, axis)
            return loss, np.divide(gradient, rows, out=gradient if reuse else None)

        return run

    yield Contender("scipy", WRITTEN, "log_softmax", lambda: Call(way(False), problem.outcome))
    yield Contender(
        "scipy", BEST, "log_softmax, rest in place", lambda: Call(way(True), problem.outcome)
    )


def _sklearn(problem: Any, _: object) -> Iterator[Contender]:
    x = problem.logits
    if x.ndim != 2 or x.shape[1] > MOST_SKLEARN_CLASSES:
        return

    def build(reuse: bool) -> Call:
        # Where the classifiers that minimise this loss get it; it has no public name.
        module = importlib.import_module("sklearn._loss.loss")
        loss = module.HalfMultinomialLoss(n_classes=x.shape[1])
        target = problem.target.astype(x.dtype)
        keywords: dict[str, Any] = {"y_true": target, "raw_prediction": x}
        keywords["n_threads"] = ss.get_num_threads()
        if reuse:
            keywords |= {"loss_out": np.empty_like(target), "gradient_out": problem.out}

        # Each row's loss and gradient: the mean over the rows is left to the caller.
        return Call(
            lambda: loss.loss_gradient(**keywords),
            lambda returned: {"loss": returned[0].mean(), "dlogits": returned[1] / problem.rows},
        )

    yield Contender("sklearn", WRITTEN, "loss_gradient", lambda: build(False))
    yield Contender("sklearn", BEST, "loss_gradient, _out=", lambda: build(True))


def _single_or_double(contenders: Contenders) -> Contenders:
    """In half precision NumPy converts and rounds each element of each operation."""
    return lambda problem, module: (
        iter(()) if is_half(problem.logits) else contenders(problem, module)
    )


CONTENDERS: dict[str, Contenders] = {
    "numpy": _single_or_double(_numpy),
    "scipy": _single_or_double(_scipy),
    "sklearn": _single_or_double(_sklearn),
}
