"""Small calls with two builds, in turns: what a change costs where the call is all there is.

    python benchmarks/studies/two_builds.py OLD/python NEW/python --json benchmarks/results/FILE

Each argument is a folder that has a built package. A process of each lives for the whole run and is
asked for a sample at a time, old and new first by turns, so that both see the same machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from in_turns import ask, start

CALLS = 500  # short samples: on a busy machine some of them are left alone


def cases() -> dict[str, Callable[[], Any]]:
    import numpy as np

    import softstep as ss

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 10)).astype(np.float32), rng.integers(10, size=64)
    place, out = x.copy(), np.empty_like(x)
    w = [np.ones(shape, np.float32) for shape in ((20, 10), (10,))]
    g = [np.full_like(p, 1e-30) for p in w]
    sgd = ss.SGD(w, lr=0.1, momentum=0.9)
    return {
        "cross-entropy 64 x 10": lambda: ss.cross_entropy(x, y),
        "with gradient, in place": lambda: ss.cross_entropy_with_grad(place, y, out=place),
        "softmax 64 x 10, out=": lambda: ss.softmax(x, out=out),
        "SGD step of two arrays": lambda: sgd.step(g),
    }


def child() -> None:
    """Answer each line, a case's name, with the microseconds of a call."""
    known = cases()
    for line in sys.stdin:
        call = known[line.strip()]
        begin = time.perf_counter()
        for _ in range(CALLS):
            call()
        print((time.perf_counter() - begin) / CALLS * 1e6, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help="of the old and the new build")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", type=Path, help="file for every sample")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        return child()
    names = list(cases())
    builds = {
        which: start(__file__, f)
        for which, f in zip(("old", "new"), arguments.folders, strict=True)
    }
    samples: dict[str, dict[str, list[float]]] = {n: {b: [] for b in builds} for n in names}
    for number in range(arguments.rounds):
        for name in names:
            for which in sorted(builds, reverse=number % 2 == 0):
                samples[name][which].append(ask(builds[which], name))
    print(
        f"{'us a call: fastest sample':26} {'old':>8} {'new':>8} {'new/old':>8}   and the medians"
    )
    for name, found in samples.items():
        cells = []
        for number in (min, statistics.median):
            old, new = (number(found[which]) for which in builds)
            cells.append(f"{old:8.2f} {new:8.2f} {new / old:8.3f}")
        print(f"{name:26} " + "   ".join(cells))
    if arguments.json:
        arguments.json.write_text(json.dumps(samples) + "\n")


if __name__ == "__main__":
    main()
