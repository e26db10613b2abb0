"""Which part of a whole a rank has."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from softstep.distributed.engines.communicator import Communicator


class Shard(NamedTuple):
    """Elements, rows or classes `begin` to `end`, without `end`, of `total`.

    Examples
    --------
    >>> from softstep.distributed import Shard
    >>> Shard(2, 5, 8).size
    3
    """

    begin: int
    end: int
    total: int

    @property
    def size(self) -> int:
        """How many this rank has."""
        return self.end - self.begin


def even_counts(total: int, size: int) -> list[int]:
    """Return the number of elements of each rank; they differ by at most one, the larger first."""
    least, more = divmod(total, size)
    return [least + (rank < more) for rank in range(size)]


def even_shard(total: int, comm: Communicator) -> Shard:
    """Return this rank's shard if all have the same number, or one less; nothing is sent.

    Examples
    --------
    >>> from softstep.distributed import Single, even_shard
    >>> even_shard(10, Single())
    Shard(begin=0, end=10, total=10)
    """
    if total < 0:
        raise ValueError(f"total: expected at least 0, got {total}")
    counts = even_counts(total, comm.size)
    begin = sum(counts[: comm.rank])
    return Shard(begin, begin + counts[comm.rank], total)


def shard_of(count: int, comm: Communicator) -> Shard:
    """Return this rank's shard if every rank says how many it has; one all-gather.

    Examples
    --------
    >>> from softstep.distributed import Single, shard_of
    >>> shard_of(7, Single())
    Shard(begin=0, end=7, total=7)
    """
    if count < 0:
        raise ValueError(f"count: expected at least 0, got {count}")
    counts = np.empty(comm.size, np.int64)
    comm.all_gather(np.array([count], np.int64), [1] * comm.size, counts)
    begin = int(counts[: comm.rank].sum())
    return Shard(begin, begin + count, int(counts.sum()))
