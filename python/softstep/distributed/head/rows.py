"""Hidden rows of which each rank has some, gathered a chunk at a time."""

from itertools import pairwise
from typing import Any

import numpy as np

from softstep._typing import FloatArray
from softstep.distributed.engines.communicator import Communicator
from softstep.distributed.engines.shard import Shard
from softstep.head.rows import HiddenRows, add_rows


class GatheredRows:
    """What `HiddenRows` is to a head whose rows are all here."""

    copied = True

    def __init__(
        self, comm: Communicator, hidden: FloatArray, own: Shard, dtype: np.dtype[Any]
    ) -> None:
        self._comm, self._hidden, self._own, self._dtype = comm, hidden, own, dtype
        self.count = own.size

    def arrange(self, targets: Any, chunk: int) -> None:
        """Put the rows that count in an order in which each chunk has a like share of every rank.

        Within a chunk they are in the order of the ranks.
        """
        comm, own = self._comm, self._own
        ends = np.empty(2 * comm.size, np.int64)
        comm.all_gather(np.array([own.begin, own.end]), [2] * comm.size, ends)
        begins, ends = ends[::2], ends[1::2]
        if (begins != [0, *ends[:-1]]).any() or ends[-1] != own.total:
            raise ValueError(
                f"rows: expected the ranks' shards to follow one another up to {own.total}, got "
                f"{[*zip(begins.tolist(), ends.tolist(), strict=True)]}"
            )
        rows = targets.rows
        cuts = np.searchsorted(rows, [0, *ends])
        sizes = np.diff(cuts)
        places = np.arange(len(rows)) - np.repeat(cuts[:-1], sizes)
        order = np.argsort((places + 0.5) / np.repeat(sizes, sizes), kind="stable")
        for begin in range(0, len(order), chunk):
            order[begin : begin + chunk].sort()
        targets.keep(order)
        rows = targets.rows
        self._ends = ends
        mine = (rows >= own.begin) & (rows < own.end)
        self.rows = rows[mine] - own.begin
        self._before = np.concatenate([[0], np.cumsum(mine)])
        self._all_rows = rows
        self._mine = HiddenRows(self._hidden, self.rows, self._dtype, True)

    def chunk(self, begin: int, end: int, scratch: FloatArray | None) -> tuple[FloatArray, None]:
        """Return the counting rows [begin, end) of all ranks; one all-gather."""
        assert scratch is not None
        x = scratch[: end - begin]
        counts, own = self._parts(x, begin, end)
        if len(own):
            self._mine.chunk(self._before[begin], self._before[end], own)
        self._comm.all_gather(own.reshape(-1), counts, x.reshape(-1))
        return x, None

    def place(self, dhidden: FloatArray, begin: int, end: int) -> None:
        """Return nothing: the gradient of all rows is made in scratch."""

    def scatter(
        self, dhidden: FloatArray, dx: FloatArray, begin: int, end: int, adds: bool
    ) -> None:
        """Write or add the sum over the ranks of this rank's rows; one reduce-scatter."""
        counts, own = self._parts(dx, begin, end)
        self._comm.reduce_scatter(dx.reshape(-1), counts, own.reshape(-1))
        if len(own):
            add_rows(dhidden, self.rows[self._before[begin] : self._before[end]], own, adds)

    def _parts(self, x: FloatArray, begin: int, end: int) -> tuple[list[int], FloatArray]:
        """Return how many elements each rank has of a chunk, and this rank's rows of it."""
        cuts = [0, *np.searchsorted(self._all_rows[begin:end], self._ends).tolist()]
        counts = [(b - a) * x.shape[-1] for a, b in pairwise(cuts)]
        return counts, x[cuts[self._comm.rank] : cuts[self._comm.rank + 1]]
