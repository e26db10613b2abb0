"""Other processes that measure: with fewer CPUs, or without the peers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from softstep.bench.contender import OWN
from softstep.bench.record import TIMED

# With a number of threads of the user's own, the CPUs alone decide for every library.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "SOFTSTEP_NUM_THREADS",
)


def run_bench(words: Sequence[str], threads: int | None = None, silent: bool = False) -> int:
    """Run ``softstep bench`` with ``words`` in a new process; return its exit status.

    With ``threads`` it may use that many CPUs only, which every library that starts in it obeys.
    """
    environment = dict(os.environ)
    cpus = os.sched_getaffinity(0)
    if threads is not None:
        for name in THREAD_VARIABLES:
            environment.pop(name, None)
        # A new process inherits the affinity of the thread that starts it.
        os.sched_setaffinity(0, sorted(cpus)[:threads])
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "softstep", "bench", *words],
            env=environment,
            stdout=subprocess.DEVNULL if silent else None,
        )
    finally:
        os.sched_setaffinity(0, cpus)
    try:
        return process.wait()
    except KeyboardInterrupt:
        # The terminal has interrupted both; the other one still shows what it has.
        process.wait()
        raise


def peerless_times(
    cases: Sequence[str], words: Sequence[str]
) -> dict[tuple[str, str], dict[str, float]] | None:
    """Measure ``cases`` in a process that imports no peer; None if that failed.

    Returns ``alone_median_ms`` and ``alone_best_ms`` for each (case, softstep's contender). Beside
    the times among the peers they show what the presence of other libraries costs.
    """
    with tempfile.TemporaryDirectory(prefix="softstep-bench-") as folder:
        file = Path(folder) / "alone.json"
        command = [*words, "--peers", "none", "--json", str(file), "--cases", *cases]
        if run_bench(command, silent=True) != 0:
            return None
        document = json.loads(file.read_text())
    return {
        (case["name"], entry["detail"]): {
            "alone_median_ms": entry["median_ms"],
            "alone_best_ms": entry["best_ms"],
        }
        for case in document["cases"]
        for entry in case["contenders"]
        if entry["peer"] == OWN and entry["status"] == TIMED
    }
