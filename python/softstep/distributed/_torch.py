"""torch.distributed, on tensors over the memory of the NumPy buffers."""

import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NoReturn

import numpy as np

from softstep._typing import FloatArray
from softstep.distributed._communicator import Communicator, Op, Pending, late, lost


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
    The parts of a reduce-scatter are exchanged, and summed here in the order of the ranks: gloo's
    own reduces everything everywhere first. Those of an all-gather may have different lengths: each
    rank broadcasts its own.
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
        return self._started("all_reduce", self._dist.all_reduce, tensor, self._ops[op])

    def _reduce_scatter(self, buffer: FloatArray, counts: Sequence[int], out: FloatArray) -> None:
        parts = np.empty((self.size, out.size), out.dtype)
        self._started(
            "reduce_scatter",
            self._dist.all_to_all_single,
            self._tensor(parts.reshape(-1)),
            self._tensor(buffer),
            [out.size] * self.size,
            list(counts),
        ).wait()
        with np.errstate(invalid="ignore", over="ignore"):  # as any other engine adds
            np.sum(parts, axis=0, out=out)

    def _all_gather(self, part: FloatArray, counts: Sequence[int], out: FloatArray) -> None:
        begin = sum(counts[: self.rank])
        out[begin : begin + part.size] = part
        parts = np.split(out, np.cumsum(counts)[:-1])
        started = [
            self._started("all_gather", self._dist.broadcast, self._tensor(p), self._root(rank))
            for rank, p in enumerate(parts)
            if p.size
        ]
        for pending in started:
            pending.wait()

    def _broadcast(self, buffer: FloatArray, root: int) -> None:
        tensor = self._tensor(buffer)
        self._started("broadcast", self._dist.broadcast, tensor, self._root(root)).wait()

    def _barrier(self) -> None:
        self._all_reduce(np.zeros(1), "sum").wait()

    def _tensor(self, buffer: FloatArray) -> Any:
        return self._torch.from_numpy(buffer)

    def _root(self, rank: int) -> int:
        """Return the rank in the world, which is what broadcast wants."""
        return rank if self._group is None else self._dist.get_global_rank(self._group, rank)

    def _started(self, name: str, call: Any, *arguments: Any) -> Pending:
        try:
            work = call(*arguments, group=self._group, async_op=True)
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
