"""torch.distributed, on tensors over the memory of the NumPy buffers."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NoReturn

import numpy as np

from softstep._typing import FloatArray
from softstep.distributed.engines.communicator import (
    Communicator,
    Op,
    Pending,
    late,
    lost,
    same_memory,
)

_CHUNK = 2**18  # elements of a reduce-scatter that are received while others are added


class Torch(Communicator):
    """The processes of a torch.distributed group, through its backend gloo.

    Parameters
    ----------
    group : torch.distributed.ProcessGroup, optional
        One with the backend gloo. Without it, the default group; if that has another backend, a new
        gloo group of all its ranks, for which every rank of it has to be here.
    timeout : float
        Seconds that a collective may take.

    Raises
    ------
    ImportError
        Without PyTorch.
    RuntimeError
        If torch.distributed is not initialised.
    ValueError
        For a group without gloo.

    Notes
    -----
    In a reduce-scatter each rank sends the others their parts, and adds what it receives, in an
    order that depends on nothing else; in an all-gather each broadcasts its part. Parts have any
    lengths, and both take less time than gloo's own (docs/design/0010-distributed.md).
    """

    def __init__(self, group: Any = None, *, timeout: float = 300.0) -> None:
        try:
            import torch
            import torch.distributed as dist
        except ImportError as error:
            raise ImportError(
                f"softstep.distributed.Torch needs PyTorch ({error}): `pip install torch`"
            ) from error
        if not (dist.is_available() and dist.is_initialized()):
            raise RuntimeError(
                "torch.distributed is not initialised: call softstep.distributed.communicator() "
                "or torch.distributed.init_process_group('gloo') first"
            )
        self._torch, self._dist, self.timeout = torch, dist, float(timeout)
        if group is None and "gloo" not in str(dist.get_backend_config()):
            group = dist.new_group(backend="gloo")
        if "gloo" not in str(dist.get_backend_config(group)):
            raise ValueError(f"group: expected the backend gloo, got {dist.get_backend(group)}")
        self._group = group
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)
        self._ops = {"sum": dist.ReduceOp.SUM, "max": dist.ReduceOp.MAX}

    def abort(self, message: str) -> NoReturn:
        """Write the message to stderr, and end this process; the others lose it, and fail."""
        sys.stdout.flush()
        print(message, file=sys.stderr, flush=True)
        os._exit(1)

    def _all_reduce(self, buffer: FloatArray, op: Op) -> Pending:
        tensor = self._tensor(buffer)
        return self._collective("all_reduce", self._dist.all_reduce, tensor, self._ops[op])

    def _reduce_scatter(self, buffer: FloatArray, counts: Sequence[int], out: FloatArray) -> None:
        parts = np.split(buffer, np.cumsum(counts)[:-1])
        if not same_memory(parts[self.rank], out):
            np.copyto(out, parts[self.rank])
        others = [(self.rank + step) % self.size for step in range(1, self.size)]
        pending = [
            self._moved(self._dist.isend, chunk, other)
            for other in others
            for chunk in _chunks(parts[other])
        ]
        scratch = np.empty((2, min(out.size, _CHUNK)), out.dtype)
        places = [(other, to) for other in reversed(others) for to in _chunks(out)]
        chunks = [scratch[i % 2][: to.size] for i, (_, to) in enumerate(places)]
        coming = None
        for i, (_, to) in enumerate(places):  # one chunk comes while another is added
            now = coming or self._moved(self._dist.irecv, chunks[i], places[i][0])
            if i + 1 < len(places):
                coming = self._moved(self._dist.irecv, chunks[i + 1], places[i + 1][0])
            now.wait()
            with np.errstate(invalid="ignore", over="ignore"):  # as any other engine adds
                to += chunks[i]
        for sent in pending:
            sent.wait()

    def _all_gather(self, part: FloatArray, counts: Sequence[int], out: FloatArray) -> None:
        begin = sum(counts[: self.rank])
        out[begin : begin + part.size] = part
        parts = np.split(out, np.cumsum(counts)[:-1])
        started = [
            self._collective("all_gather", self._dist.broadcast, self._tensor(p), self._root(rank))
            for rank, p in enumerate(parts)
            if p.size
        ]
        for pending in started:
            pending.wait()

    def _broadcast(self, buffer: FloatArray, root: int) -> None:
        tensor = self._tensor(buffer)
        self._collective("broadcast", self._dist.broadcast, tensor, self._root(root)).wait()

    def _barrier(self) -> None:
        self._all_reduce(np.zeros(1), "sum").wait()

    def _moved(self, call: Any, chunk: FloatArray, other: int) -> Pending:
        """Start to send a chunk of a reduce-scatter to another rank, or to receive it."""
        return self._started("reduce_scatter", call, self._tensor(chunk), self._root(other))

    def _tensor(self, buffer: FloatArray) -> Any:
        return self._torch.from_numpy(buffer)

    def _root(self, rank: int) -> int:
        """Return the rank in the world, which is what broadcast wants."""
        return rank if self._group is None else self._dist.get_global_rank(self._group, rank)

    def _collective(self, name: str, call: Any, *arguments: Any) -> Pending:
        return self._started(name, call, *arguments, async_op=True)

    def _started(self, name: str, call: Any, *arguments: Any, **options: Any) -> Pending:
        try:
            work = call(*arguments, group=self._group, **options)
        except RuntimeError as error:
            raise lost(self, name, error) from error
        return _Work(self, name, work, arguments)


class _Work(Pending):
    def __init__(self, comm: Torch, name: str, work: Any, tensors: Any) -> None:
        self._comm, self._name, self._work, self._tensors = comm, name, work, tensors

    def wait(self) -> None:
        try:
            self._work.wait(timedelta(seconds=self._comm.timeout))
        except RuntimeError as error:
            if "timed out" in str(error).lower():
                raise late(self._comm, self._name) from error
            raise lost(self._comm, self._name, error) from error


def _chunks(part: FloatArray) -> list[FloatArray]:
    return [part[i : i + _CHUNK] for i in range(0, part.size, _CHUNK)]
