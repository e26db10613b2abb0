"""MPI through mpi4py."""

from __future__ import annotations

import atexit
import os
import sys
import time
from collections.abc import Sequence
from typing import Any, NoReturn

from softstep._typing import FloatArray
from softstep.distributed.engines.communicator import Communicator, Op, Pending, late, lost


class MPI(Communicator):
    """The processes of an MPI communicator, through mpi4py's calls on buffers.

    MPI moves a collective only inside its calls: a started all-reduce of many bytes mostly runs in
    its `wait`, unless the library has a progress thread of its own.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm, optional
        ``COMM_WORLD`` if it is not given. It is duplicated, for which every rank of it has to be
        here, so that messages of its own do not meet those of softstep.
    timeout : float
        Seconds that a collective may take.

    Raises
    ------
    ImportError
        Without mpi4py.
    RuntimeError
        If MPI was initialised with less than MPI_THREAD_FUNNELED, which the kernels' threads need.
        All collectives are called by one thread, then the main one.

    Notes
    -----
    A process that ends in an uncaught exception, or with a collective that did not end, ends the
    whole job with ``MPI_Abort``: ``MPI_Finalize`` would wait for the others, and they for it.
    """

    def __init__(self, comm: Any = None, *, timeout: float = 300.0) -> None:
        try:
            from mpi4py import MPI as mpi
        except ImportError as error:
            raise ImportError(
                f"softstep.distributed.MPI needs mpi4py and an MPI ({error}): "
                "`pip install mpi4py mpich`, or mpi4py compiled for the MPI of this machine"
            ) from error
        if mpi.Query_thread() < mpi.THREAD_FUNNELED:
            raise RuntimeError("MPI was initialised without MPI_THREAD_FUNNELED or more")
        self._mpi = mpi
        self._comm = (mpi.COMM_WORLD if comm is None else comm).Dup()
        self.rank, self.size, self.timeout = self._comm.rank, self._comm.size, float(timeout)
        self._unfinished: set[Pending] = set()  # keeps their buffers, which MPI may still write
        self._ops = {"sum": mpi.SUM, "max": mpi.MAX}
        atexit.register(self._leave)

    def abort(self, message: str) -> NoReturn:
        """Write the message to stderr, and end every process of the job."""
        print(message, file=sys.stderr)
        self._end()

    def _all_reduce(self, buffer: FloatArray, op: Op) -> Pending:
        call, in_place = self._comm.Iallreduce, self._mpi.IN_PLACE
        return self._started("all_reduce", [buffer], call, in_place, buffer, self._ops[op])

    def _reduce_scatter(self, buffer: FloatArray, counts: Sequence[int], out: FloatArray) -> None:
        call, in_place = self._comm.Ireduce_scatter, self._mpi.IN_PLACE
        self._started("reduce_scatter", [buffer], call, in_place, buffer, counts).wait()
        # In place, the result is at the front of the buffer, whichever part is this rank's.
        out[:] = buffer[: out.size]

    def _all_gather(self, part: FloatArray, counts: Sequence[int], out: FloatArray) -> None:
        begin = sum(counts[: self.rank])
        out[begin : begin + part.size] = part
        call, in_place = self._comm.Iallgatherv, self._mpi.IN_PLACE
        self._started("all_gather", [out], call, in_place, [out, counts]).wait()

    def _broadcast(self, buffer: FloatArray, root: int) -> None:
        self._started("broadcast", [buffer], self._comm.Ibcast, buffer, root).wait()

    def _barrier(self) -> None:
        self._started("barrier", [], self._comm.Ibarrier).wait()

    def _started(
        self, name: str, buffers: Sequence[FloatArray], call: Any, *arguments: Any
    ) -> Pending:
        try:
            request = call(*arguments)
        except self._mpi.Exception as error:
            raise lost(self, name, error) from error
        return _Request(self, name, request, buffers, self._unfinished, self._mpi.Exception)

    def _leave(self) -> None:
        # Python sets last_value for an exception that nothing caught.
        failed = self._unfinished or getattr(sys, "last_value", None) is not None
        if failed and self._mpi.Is_initialized() and not self._mpi.Is_finalized():
            self._end()

    def _end(self) -> NoReturn:
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(0.5)  # the launcher drops what it has not yet read
        self._mpi.COMM_WORLD.Abort(1)
        os._exit(1)


class _Request(Pending):
    # Test also moves the data: it is called without a pause for longer than the message takes, and
    # a few times after each nap, while another rank is merely late.
    _EAGER, _EAGER_PER_BYTE, _NAP, _BURST = 1e-3, 1e-8, 1e-4, 8

    def __init__(
        self,
        comm: MPI,
        name: str,
        request: Any,
        buffers: Sequence[FloatArray],
        unfinished: set[Pending],
        failure: type[Exception],
    ) -> None:
        self._comm, self._name, self._request, self._buffers = comm, name, request, buffers
        self._unfinished, self._failure = unfinished, failure
        unfinished.add(self)

    def wait(self) -> None:
        """Return when the result is there; a blocking call could not be given up."""
        if self not in self._unfinished:
            return
        try:
            self._poll()
        except self._failure as error:
            raise lost(self._comm, self._name, error) from error
        self._unfinished.remove(self)

    def _poll(self) -> None:
        begin = time.monotonic()
        eager = self._EAGER + self._EAGER_PER_BYTE * sum(b.nbytes for b in self._buffers)
        while True:
            for _ in range(self._BURST):
                if self._request.Test():
                    return
                os.sched_yield()
            waited = time.monotonic() - begin
            if waited > self._comm.timeout:
                raise late(self._comm, self._name)
            if waited > eager:
                time.sleep(self._NAP)
