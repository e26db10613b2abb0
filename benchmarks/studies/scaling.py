"""How the time of cross-entropy grows with threads, rows, classes and bytes, beside the roofline.

    python benchmarks/studies/scaling.py --json scaling.json                 # all, a few minutes
    python benchmarks/studies/scaling.py --json scaling.json --curves rows   # one of them again
    python benchmarks/studies/scaling.py --json scaling.json --curves --plot docs/images/scaling.png

docs/performance.md explains the picture.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import softstep as ss
from softstep.bench import machine
from softstep.bench.contender import BEST, OWN, ROOFLINE, Call, Contender
from softstep.bench.families import cross_entropy
from softstep.bench.measure import Settings, measure

ELEMENTS = 1 << 24  # of the curves over classes and dtypes: 64 MiB of float32, beyond the caches
CLASSES = [2, 4, 8, 10, 16, 24, 32, 48, 64, 65, 100, 200, 500, 1000, 4000, 32000, 128000, 1000000]
ROWS = [1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192, 16384]
SMALL_ROWS = [1, 4, 16, 64, 256, 1024, 2048, 4096, 8192, 16384, 65536, 262144, 1048576]
DTYPES = ["float32", "float64", "float16", "bfloat16"]

Point = dict[str, Any]


def shapes(curve: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """The points of a curve: dtype, (rows, classes)."""
    if curve == "classes":
        yield from (("float32", (max(ELEMENTS // c, 1), c)) for c in CLASSES)
    if curve == "rows":
        yield from (("float32", (rows, 1000)) for rows in ROWS)
    if curve == "rows of 10":
        yield from (("float32", (rows, 10)) for rows in SMALL_ROWS)
    if curve == "dtypes":
        yield from ((dtype, (ELEMENTS // 1000, 1000)) for dtype in DTYPES)


CURVES = ["rows", "rows of 10", "classes", "dtypes"]


def on_threads(contender: Contender, threads: int) -> Call:
    """The contender's call, before each sample of which the number of threads is set."""
    call = contender.build()

    def prepare() -> None:
        ss.set_num_threads(threads)
        call.prepare()

    return replace(call, prepare=prepare)


def measured(dtype: str, shape: tuple[int, int], settings: Settings, cpus: int) -> Point:
    """ns per element of softstep in place and of the roofline, on one thread and on all."""
    problem = cross_entropy.build(shape=shape, dtype=dtype, axis=-1)
    own = next(c for c in cross_entropy.CONTENDERS[OWN](problem, None) if c.mode == BEST)
    contenders = [("softstep", own)]
    roofline = next(cross_entropy.CONTENDERS[ROOFLINE](problem, None))
    if roofline.moved_bytes:
        contenders.append(("roofline", roofline))
    names, calls = [], []
    for threads in (1, cpus):
        for name, contender in contenders:
            names.append(f"{name}, {threads}")
            calls.append(on_threads(contender, threads))
    times = {
        name: [1e9 * min_or_median / problem.elements for min_or_median in (s.median, s.best)]
        for name, s in zip(names, measure(problem, calls, settings), strict=True)
    }
    ss.set_num_threads(None)
    return {"dtype": dtype, "shape": shape, "bytes": problem.logits.nbytes, "ns": times}


def run(curve: str, settings: Settings) -> list[Point]:
    cpus = len(os.sched_getaffinity(0))
    points = []
    for dtype, shape in shapes(curve):
        points.append(measured(dtype, shape, settings, cpus))
        print(curve, line(points[-1], cpus), flush=True)
    return points


def line(point: Point, cpus: int) -> str:
    ns, (rows, classes) = point["ns"], point["shape"]
    parts = [f"{point['dtype']:8} {rows:8} x {classes:6}"]
    for threads in (1, cpus):
        own, roofline = ns[f"softstep, {threads}"][0], ns.get(f"roofline, {threads}")
        share = f" {100 * roofline[0] / own:4.0f} % of the roofline" if roofline else ""
        parts.append(f"{threads} threads {own:8.3f} ns{share}")
    gain = ns["softstep, 1"][0] / ns[f"softstep, {cpus}"][0]
    return "  ".join([*parts, f"gain {gain:.2f}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--curves", nargs="*", choices=CURVES, default=CURVES)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    document: dict[str, Any] = {"curves": {}}
    if arguments.json.exists():
        document = json.loads(arguments.json.read_text())
    settings = Settings(repeats=arguments.repeats, sample_s=0.003, case_s=5)
    for curve in arguments.curves:
        document["environment"] = machine.describe({})
        document["curves"][curve] = run(curve, settings)
        arguments.json.write_text(json.dumps(document, indent=1))
    if arguments.plot:
        from scaling_plot import plot

        plot(arguments.plot, document)


if __name__ == "__main__":
    main()
