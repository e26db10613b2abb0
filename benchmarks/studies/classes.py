"""Nanoseconds of an element over the number of classes, with one build or with two in turns.

    python benchmarks/studies/classes.py NEW/python
    python benchmarks/studies/classes.py OLD/python NEW/python --isa x86_64_v3 x86_64_v4 \
        --json benchmarks/results/FILE --plot docs/images/classes.png

Each folder has a built package. One thread; arrays of 65536 elements, in the second-level cache.
The smallest of many calls, less that of a call with one row: what a call costs is not the kernel's.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from in_turns import ask, start

ELEMENTS = 65536
CLASSES = [2, 3, 4, 5, 7, 8, 10, 12, 15, 16, 17, 20, 21, 24, 25, 28, 31, 32, 33, 40, 41, 48, 49, 56]
CLASSES += [63, 64, 65, 72, 80, 96, 100, 127, 128, 129, 150, 192, 200, 256, 257, 300, 384, 500, 512]
CLASSES += [768, 1000, 1024, 1025, 1500, 2000, 2048, 3000, 4096]
FUNCTIONS = ["cross_entropy", "softmax"]
DTYPES = ["float32", "bfloat16"]
LAYOUTS = ["rows", "planes"]

Times = dict[str, dict[str, list[float]]]  # per case and build, over the classes


def smallest_ns(call: Any, seconds: float) -> float:
    times: list[int] = []
    end = time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < end:
        begin = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - begin)
    return min(times)


def call_of(function: str, dtype: str, layout: str, classes: int, rows: int) -> Any:
    import ml_dtypes
    import numpy as np

    import softstep as ss

    rng = np.random.default_rng(0)
    shape, axis = ((rows, classes), -1) if layout == "rows" else ((1, classes, rows), 1)
    x = rng.normal(size=shape).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    targets = rng.integers(classes, size=rows if layout == "rows" else (1, rows))
    out = np.empty_like(x)
    if function == "softmax":
        return lambda: ss.softmax(x, axis=axis, out=out)
    return lambda: ss.cross_entropy_with_grad(x, targets, axis=axis, out=out)


def child() -> None:
    """Answer each line, a case and the classes, with the nanoseconds of an element."""
    import softstep as ss

    ss.set_num_threads(1)
    for line in sys.stdin:
        function, dtype, layout, number = line.split()
        classes = int(number)
        rows = max(ELEMENTS // classes, 16)
        all_rows, one = (
            smallest_ns(call_of(function, dtype, layout, classes, n), 0.02) for n in (rows, 1)
        )
        print((all_rows - one) / ((rows - 1) * classes), flush=True)


def measure(folders: list[str], isa: str, cases: list[str], rounds: int) -> Times:
    builds = {folder: start(__file__, folder, SOFTSTEP_ISA=isa) for folder in folders}
    times: Times = {
        case: {folder: [float("inf")] * len(CLASSES) for folder in folders} for case in cases
    }
    for number in range(rounds):
        for case in cases:
            for i, classes in enumerate(CLASSES):
                for folder in folders[:: 1 if number % 2 else -1]:
                    ns = ask(builds[folder], f"{case} {classes}")
                    times[case][folder][i] = min(times[case][folder][i], ns)
    return times


def plot(found: dict[str, Times], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    cases = list(next(iter(found.values())))
    layouts = list(dict.fromkeys(case.split()[-1] for case in cases))
    kinds = list(dict.fromkeys(case.rsplit(maxsplit=1)[0] for case in cases))
    columns = [(isa, layout) for isa in found for layout in layouts]
    size = (4.5 * len(columns), 2.4 * len(kinds))
    figure, axes = plt.subplots(len(kinds), len(columns), figsize=size, sharex=True, squeeze=False)
    for row, kind in enumerate(kinds):
        for column, (isa, layout) in enumerate(columns):
            ax = axes[row][column]
            builds = found[isa][f"{kind} {layout}"].values()
            for ns, style in zip(builds, ("--", "-"), strict=False):
                ax.plot(CLASSES, ns, style, marker=".", markersize=3)
            ax.set(title=f"{kind}, {layout}, {isa}", xscale="log", ylim=(0, 5))
            ax.grid(alpha=0.3)
    for ax in axes[-1]:
        ax.set_xlabel("classes")
    for ax in axes[:, 0]:
        ax.set_ylabel("ns an element")
    if len(builds) == 2:
        axes[0][0].legend(["before", "after"])
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help="of a build; two: old and new")
    parser.add_argument("--isa", nargs="+", default=["x86_64_v4"], help="levels")
    parser.add_argument("--layout", nargs="+", default=LAYOUTS, choices=LAYOUTS)
    parser.add_argument("--dtype", nargs="+", default=DTYPES, choices=DTYPES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        return child()
    cases = [f"{f} {d} {y}" for f in FUNCTIONS for d in arguments.dtype for y in arguments.layout]
    found = {i: measure(arguments.folders, i, cases, arguments.rounds) for i in arguments.isa}
    for isa, times in found.items():
        for case, by_build in times.items():
            print(f"{case}, {isa}: ns an element with each build")
            for i, classes in enumerate(CLASSES):
                print(f"{classes:6}" + "".join(f"{ns[i]:8.3f}" for ns in by_build.values()))
    if arguments.json:
        arguments.json.write_text(json.dumps({"classes": CLASSES, "ns": found}) + "\n")
    if arguments.plot:
        plot(found, arguments.plot)


if __name__ == "__main__":
    main()
