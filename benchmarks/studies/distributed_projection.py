"""Weak scaling of the vocabulary-parallel loss to 1000 ranks, on paper: an alpha-beta model.

    python benchmarks/studies/distributed_projection.py

Nothing is measured here. The bytes are those that the tests count, the time of an element and the
flops of a rank are what `distributed.py` and the linear head took on two ranks; latency and
bandwidth are assumed.
"""

from __future__ import annotations

import argparse
from math import ceil, log2

RANKS = [2, 10, 100, 1000]
FIELDS = 2  # class targets
# (rows, classes a rank), and with the features of the linear head
LOSSES = [(1024, 1000), (8192, 1000), (1024, 16000)]
HEADS = [(8192, 128, 4096), (8192, 1000, 4096)]


def all_reduce(nbytes: float, ranks: int, alpha: float, bandwidth: float) -> float:
    """Seconds of the best of three algorithms: whole vectors, halved vectors, a ring."""
    if ranks == 1:
        return 0.0
    steps, beta = ceil(log2(ranks)), nbytes / bandwidth
    moved = 2 * (ranks - 1) / ranks * beta
    return min(
        steps * (alpha + beta),  # recursive doubling
        2 * steps * alpha + moved,  # reduce-scatter by halving, all-gather by doubling
        2 * (ranks - 1) * alpha + moved,  # a ring
    )


def loss_messages(rows: int, ranks: int, alpha: float, bandwidth: float) -> float:
    maxima, sums = 8 * (4 + max(rows, 1020)), 8 * (FIELDS * rows + 3)
    return sum(all_reduce(nbytes, ranks, alpha, bandwidth) for nbytes in (maxima, sums))


def head_messages(
    rows: int, features: int, ranks: int, chunk: int, alpha: float, bandwidth: float
) -> float:
    """An agreement, and for each chunk two messages and the sum of its dhidden, not overlapped."""
    seconds = all_reduce(8 * 4, ranks, alpha, bandwidth)
    each = (8 * chunk, 8 * (FIELDS * chunk + 3), 4 * chunk * features)
    once = sum(all_reduce(nbytes, ranks, alpha, bandwidth) for nbytes in each)
    return seconds + ceil(rows / chunk) * once


def cases(
    arguments: argparse.Namespace,
) -> list[tuple[str, float, list[float]]]:
    """Name, computing seconds of a rank, and seconds of messages for each number of ranks."""
    alpha, bandwidth = 1e-6 * arguments.latency_us, 1e9 * arguments.bandwidth_gb
    found = []
    for rows, classes in LOSSES:
        seconds = 1e-9 * arguments.ns_element * rows * classes
        sent = [loss_messages(rows, p, alpha, bandwidth) for p in RANKS]
        found.append((f"loss, {rows} x {classes}", seconds, sent))
    for rows, classes, features in HEADS:
        seconds = 6 * rows * classes * features / (1e9 * arguments.gflops)
        sent = [head_messages(rows, features, p, 1024, alpha, bandwidth) for p in RANKS]
        found.append((f"head, {rows} x {classes} x {features}", seconds, sent))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--latency-us", type=float, default=10.0, help="alpha, of a message")
    parser.add_argument("--bandwidth-gb", type=float, default=10.0, help="1 / beta, GB/s")
    parser.add_argument("--ns-element", type=float, default=0.65, help="loss and gradient, a rank")
    parser.add_argument("--gflops", type=float, default=85.0, help="of the head, a rank")
    arguments = parser.parse_args()
    print("| rows x classes a rank (x features) | computes, ms |", *(f"{p} |" for p in RANKS))
    for name, seconds, sent in cases(arguments):
        each = (f"{1e3 * s:.3g} ms, {100 * seconds / (seconds + s):.0f} % |" for s in sent)
        print(f"| {name} | {1e3 * seconds:.3g} |", *each)


if __name__ == "__main__":
    main()
