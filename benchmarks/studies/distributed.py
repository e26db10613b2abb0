"""Vocabulary-parallel cross-entropy: time of a rank, and of its two messages alone.

    python benchmarks/studies/distributed.py                # one process, for comparison
    mpiexec -n 2 python benchmarks/studies/distributed.py   # each rank the classes of the one
    torchrun --nproc-per-node=2 benchmarks/studies/distributed.py

Weak scaling: every rank has the same number of classes. Set SOFTSTEP_NUM_THREADS=1 for a rank a
core. `distributed_projection.py` carries the numbers on to more ranks.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from softstep.distributed import Communicator, Shard, communicator, cross_entropy_with_grad

SIZES = [(1024, 1000), (8192, 1000), (8192, 128), (1024, 16000), (256, 128000)]
HEADER, LEAST_ROWS, TRAILER, FIELDS = 4, 1020, 3, 2  # class targets: docs/distributed.md


def timed(comm: Communicator, call: Callable[[], object], seconds: float) -> list[float]:
    """Milliseconds of calls that all ranks start together; as many on each."""
    samples: list[float] = []
    wanted = np.array([3], np.int64)
    while len(samples) < wanted[0]:
        comm.barrier()
        begin = time.perf_counter()
        call()
        samples.append(1e3 * (time.perf_counter() - begin))
        if len(samples) == 2:  # the first one warms up
            wanted[0] = max(5, min(1000, 1e3 * seconds / samples[1]))
            comm.all_reduce(wanted, "max")
    return samples[1:]


def measure(comm: Communicator, rows: int, classes: int, seconds: float) -> tuple[float, ...]:
    rng = np.random.default_rng(comm.rank)
    x = rng.normal(size=(rows, classes)).astype(np.float32)
    out = np.empty_like(x)
    total = classes * comm.size
    target = np.random.default_rng(0).integers(0, total, rows)
    shard = Shard(classes * comm.rank, classes * (comm.rank + 1), total)
    maxima = np.zeros(HEADER + max(rows, LEAST_ROWS))
    sums = np.zeros(FIELDS * rows + TRAILER)

    def loss() -> None:
        cross_entropy_with_grad(x, target, shard=shard, comm=comm, out=out)

    def messages() -> None:
        comm.all_reduce(maxima, "max")
        comm.all_reduce(sums, "sum")

    whole, sent = timed(comm, loss, seconds), timed(comm, messages, seconds)
    return float(np.median(whole)), min(whole), float(np.median(sent)), min(sent)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    arguments = parser.parse_args()
    comm = communicator(timeout=60)
    if comm.rank == 0:
        print(f"{type(comm).__name__}, {comm.size} ranks, float32, median (best)")
        print("|  rows | classes a rank |    call, ms | messages, ms | ns an element |")
    for rows, classes in SIZES:
        median, best, sent, least = measure(comm, rows, classes, arguments.seconds)
        if comm.rank == 0:
            ns = 1e6 * median / (rows * classes)
            print(
                f"| {rows:5} | {classes:14} | {median:.3f} ({best:.3f}) | {sent:.3f} ({least:.3f})"
                f" | {ns:.3f} |"
            )


if __name__ == "__main__":
    main()
