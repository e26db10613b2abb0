"""Measure again every constant of the cost model (cpp/ops/cost.hpp, cpp/parallel/parallel.hpp).

    python benchmarks/studies/cost_model.py

A line for each: the constant in the source, and what this machine says. Half or twice of a time
changes little: it decides from which size on a second thread is worth its wake-up.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import softstep as ss
from softstep import _core
from softstep.bench import machine

SOURCES = Path(__file__).parents[2] / "cpp"
IN_CACHE = 32768  # elements: in the second-level cache, one block of work
PARKED_S = 0.001  # a worker that nobody has called for as long is asleep


def constants() -> dict[str, str]:
    """The named numbers of the model, as the source has them."""
    text = "".join((SOURCES / p).read_text() for p in ("ops/cost.hpp", "parallel/parallel.hpp"))
    return dict(re.findall(r"constexpr \w+ (k\w+) = ([0-9.']+);", text))


def best_ns(call: Callable[[], Any], *, pause_s: float = 0.0, samples: int = 60) -> float:
    """The median of the faster half of the calls: what it takes when nobody interferes."""
    times = []
    for _ in range(samples):
        if pause_s:
            time.sleep(pause_s)
        start = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - start)
    return float(np.median(np.sort(times)[: samples // 2]))


def logits(rows: int, classes: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(rows, classes)).astype(np.float32)


def per_element(call: Callable[[], Any], empty: Callable[[], Any], elements: int) -> float:
    """ns, without the time of the same call on next to nothing."""
    return (best_ns(call, samples=400) - best_ns(empty, samples=400)) / elements


def class_axis(classes: int) -> dict[str, float]:
    """ns per element of rows of so many classes, one thread, cached."""
    rows = IN_CACHE // classes
    results = {}
    for name, function in (("softmax", ss.softmax), ("log_softmax", ss.log_softmax)):
        x, one = logits(rows, classes), logits(1, classes)
        y, y1 = np.empty_like(x), np.empty_like(one)
        results[name] = per_element(
            lambda f=function, x=x, y=y: f(x, out=y),  # type: ignore[misc]
            lambda f=function, x=one, y=y1: f(x, out=y),  # type: ignore[misc]
            x.size - classes,
        )
    x, one = logits(rows, classes), logits(1, classes)
    y, y1, t = np.empty_like(x), np.empty_like(one), np.zeros(rows, np.int64)
    results["cross-entropy"] = per_element(
        lambda: ss.cross_entropy_with_grad(x, t, out=y),
        lambda: ss.cross_entropy_with_grad(one, t[:1], out=y1),
        x.size - classes,
    )
    return results


def elements() -> dict[str, float]:
    """ns per element of element-wise work, one thread, cached."""
    x, y, out = (np.ones(IN_CACHE, np.float32) for _ in range(3))
    few = slice(0, 64)
    results = {}
    for name, call in {
        "squared error": lambda s: ss.squared_error_with_grad(x[s], y[s], out=out[s]),
        "stream read": lambda s: _core.stream_read(x[s]),
        "stream scale": lambda s: _core.stream_scale(x[s], -1.0),
    }.items():
        results[name] = per_element(
            lambda c=call: c(slice(None)),  # type: ignore[misc]
            lambda c=call: c(few),  # type: ignore[misc]
            IN_CACHE - 64,
        )
    for name, rule, options in (("sgd", ss.SGD, {"momentum": 0.9}), ("adamw", ss.AdamW, {})):
        optimizers = [(rule([a], 1e-3, **options), [b]) for a, b in ((x, y), (x[few], y[few]))]
        large, small = (lambda o=o, g=g: o.step(g) for o, g in optimizers)  # type: ignore[misc]
        results[name] = per_element(large, small, IN_CACHE - 64)
    return results


def threshold() -> Iterator[str]:
    """Calls on one and on two threads whose worker is parked, around the threshold."""
    for rows in (128, 160, 192, 256, 384, 512, 1024):
        x, t = logits(rows, 1000), np.zeros(rows, np.int64)
        y = np.empty_like(x)
        times = []
        for threads in (1, 2):
            ss.set_num_threads(threads)
            call = lambda: ss.cross_entropy_with_grad(x, t, out=y)  # noqa: B023, E731
            times.append(best_ns(call, pause_s=PARKED_S, samples=100) / 1000)
        yield f"  {rows:5} x 1000: {times[0]:7.1f} us on one thread, {times[1]:7.1f} on two"
    ss.set_num_threads(None)


def shown(results: dict[str, float]) -> str:
    return ", ".join(f"{name} {ns:.3f}" for name, ns in results.items())


def main() -> None:
    environment = machine.describe({})
    print(f"{environment['cpu']}, {environment['isa']}, {environment['compiler']}")
    source = constants()
    ss.set_num_threads(1)
    print(f"kRowElementNs = {source['kRowElementNs']}: {shown(class_axis(1000))}")
    print(f"kLaneElementNs = {source['kLaneElementNs']}: {shown(class_axis(10))}")
    print(f"kMapElementNs = {source['kMapElementNs']}, and the optimizers': {shown(elements())}")
    limits = ", ".join(f"{k} = {v}" for k, v in source.items() if k.endswith("LaneClasses"))
    print(f"{limits}: ns per element; a step up behind a limit: it is too low, down: too high")
    for classes in (8, 16, 24, 32, 33, 40, 48, 63, 64, 65, 100):
        print(f"  {classes:4} classes: {shown(class_axis(classes))}")
    row_ns = class_axis(1000)["cross-entropy"]
    block = int(source["kBlockElements"])
    print(f"kBlockElements = {block}: a block takes {block * row_ns / 1000:.1f} us")
    print(f"kSerialBelowNs = {source['kSerialBelowNs']}: two threads pay from here on:")
    for line in threshold():
        print(line)


if __name__ == "__main__":
    main()
