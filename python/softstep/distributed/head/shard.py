"""The linear head over a rank's classes: chunk by chunk as in one process, with sums over ranks."""

from typing import Any

import numpy as np

from softstep._typing import FloatArray
from softstep.distributed.engines.communicator import Communicator, Pending
from softstep.distributed.engines.shard import Shard
from softstep.distributed.head.rows import GatheredRows
from softstep.distributed.losses.shard import add_sums
from softstep.head.arguments import Head
from softstep.head.chunks import ChunkLoop
from softstep.head.targets import Targets
from softstep.head.workspace import Arena, Needs


class ShardTargets(Targets):
    """Targets of all classes, for a rank that has some; `complete` comes before the first chunk."""

    def __init__(
        self, comm: Communicator, shard: Shard, gathers: bool, head: Head, *arguments: Any
    ) -> None:
        self._comm, self._shard, self._gathers = comm, shard, gathers
        super().__init__(head, *arguments, first=shard.begin, total=shard.total)

    @property
    def copies_probabilities(self) -> bool:
        """Also where gathered rows come in another order."""
        return self.dense and (self._gathers or super().copies_probabilities)

    @property
    def used(self) -> list[int]:
        """The fields that are summed over the ranks."""
        return self.call.used

    def complete(self) -> None:
        """Learn what a mean divides by, if each rank has a part of it."""
        if self.call.denominator_is_part:
            total = np.array([self.call.loss_denominator])
            self._comm.all_reduce(total, "sum")
            self._divide_by(float(total[0]))
        if self.denominator == 0 and self.empty == "raise":
            raise ValueError("target: the mean is over no rows (all are ignored or weightless)")

    def cross_entropy(
        self,
        logits: FloatArray,
        begin: int,
        with_gradient: bool,
        probabilities: FloatArray | None,
    ) -> Any:
        """As that of one process, with two collectives."""
        dense = self.probabilities_of(logits, begin, probabilities)
        sums = self.call.sweep(logits, begin, dense)
        maxima = sums[:, 0].copy()
        self._comm.all_reduce(maxima, "max")
        add_sums(self._comm, self.call, sums, maxima, self._shard)
        return self.call.finish(logits, sums, logits if with_gradient else None, begin, dense)


class ShardLoop(ChunkLoop):
    """One call on a rank: its classes' weights and their gradient, and everyone's hidden rows."""

    targets: ShardTargets

    def __init__(
        self, comm: Communicator, rows: Shard | None, head: Head, targets: ShardTargets, *rest: Any
    ) -> None:
        self._comm, self._rows = comm, rows
        self._started: tuple[Pending, tuple[Any, ...]] | None = None
        super().__init__(head, targets, *rest)

    def start(self, chunk: int) -> None:
        """Take the chunks that all ranks can take, once all have agreed to."""
        self.plan = self.plan._replace(rows=chunk)
        self.targets.complete()
        if isinstance(self.hidden, GatheredRows):
            self.hidden.arrange(self.targets, chunk)

    def _hidden_rows(self) -> Any:
        if self._rows is None:
            return super()._hidden_rows()
        return GatheredRows(self._comm, self.head.hidden, self._rows, self.head.dtype)

    def _needs(self) -> Needs:
        needs = super()._needs()
        # Two chunks' dhidden are under way at once.
        return needs._replace(row_features=needs.row_features + ("hidden" in self.wanted))

    def _take_scratch(self, arena: Arena) -> None:
        super()._take_scratch(arena)
        if "hidden" in self.wanted:
            self._other_dx = arena.array(self.plan.rows, self.head.hidden.shape[-1])

    def _chunk(self, begin: int, end: int) -> Any:
        loss = super()._chunk(begin, end)
        if end == len(self.targets.rows):
            self._settle()
        return loss

    def _put_dhidden(
        self, dhidden: FloatArray, dx: FloatArray, begin: int, end: int, in_place: bool
    ) -> None:
        """Start the sum over the ranks, which goes on beside the next products."""
        if isinstance(self.hidden, GatheredRows):
            self.hidden.scatter(dhidden, dx, begin, end, "hidden" in self.added)
            return
        self._settle()
        self._started = self._comm.start_all_reduce(dx), (dhidden, dx, begin, end, in_place)
        if not in_place:
            self.dx, self._other_dx = self._other_dx, self.dx

    def _settle(self) -> None:
        if self._started is not None:
            pending, where = self._started
            self._started = None
            pending.wait()
            super()._put_dhidden(*where)
