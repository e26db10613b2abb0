"""What softstep asks of an engine that connects processes, and the single process."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, NoReturn, TypeAlias

import numpy as np

from softstep._typing import FloatArray

Op: TypeAlias = Literal["sum", "max"]

_REDUCED = (np.float32, np.float64, np.int64)


class Pending(ABC):
    """A collective that was started; its buffers belong to it until `wait` returns."""

    @abstractmethod
    def wait(self) -> None:
        """Return when the result is there.

        Raises
        ------
        TimeoutError
            If that takes longer than the communicator's time-out.
        ConnectionError
            If another rank is gone.
        """


class Done(Pending):
    """One that has ended."""

    def wait(self) -> None:
        """Return at once."""


class Communicator(ABC):
    """Collectives of a group of processes on NumPy buffers, called by every rank in the same order.

    Arguments are checked here, before anything is sent. A reduction takes float32, float64 or
    int64; what only moves data takes any dtype of fixed size. Buffers are C-contiguous and, where
    written, writeable.

    "sum" carries a NaN of one rank to all. "max" need not: MPI leaves it open, and gloo depends on
    the order. Give "max" only values that are not NaN, and count the NaN by a sum.

    Attributes
    ----------
    rank, size : int
        The place of this process in the group, from 0, and the number of processes.
    timeout : float
        Seconds after which a collective raises TimeoutError instead of waiting on.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep.distributed import communicator
    >>> comm = communicator()  # under mpiexec or torchrun one of many
    >>> comm.rank, comm.size
    (0, 1)
    >>> total = np.array([1.0, 2.0])
    >>> comm.all_reduce(total)
    >>> total
    array([1., 2.])
    """

    rank: int
    size: int
    timeout: float

    def all_reduce(self, buffer: FloatArray, op: Op = "sum") -> None:
        """Replace the buffer of every rank by the sum, or the maximum, of all."""
        self.start_all_reduce(buffer, op).wait()

    def start_all_reduce(self, buffer: FloatArray, op: Op = "sum") -> Pending:
        """Start an `all_reduce`; the buffer must be left alone until `wait` of the result."""
        _check_buffer("buffer", buffer, written=True)
        _check_reduced(buffer)
        if op not in ("sum", "max"):
            raise ValueError(f"op: expected 'sum' or 'max', got {op!r}")
        return Done() if self.size == 1 else self._all_reduce(buffer, op)

    def reduce_scatter(self, buffer: FloatArray, counts: Sequence[int], out: FloatArray) -> None:
        """Sum the 1-D buffers of all ranks, and leave ``counts[r]`` elements in `out` of rank r.

        `out` is another array, or this rank's own elements of `buffer`, whose other elements are
        undefined afterwards.
        """
        _check_buffer("buffer", buffer, written=True)
        _check_reduced(buffer)
        _check_buffer("out", out, written=True)
        own = self._own_part("buffer", buffer, counts, "out", out)
        if np.may_share_memory(buffer, out) and not same_memory(own, out):
            raise ValueError("out: overlaps buffer, expected another array or its part of buffer")
        if self.size > 1:
            self._reduce_scatter(buffer, counts, out)
        elif not same_memory(own, out):
            np.copyto(out, own)

    def all_gather(self, part: FloatArray, counts: Sequence[int], out: FloatArray) -> None:
        """Write the 1-D parts of all ranks, ``counts[r]`` elements of rank r, in a row into `out`.

        `part` is another array, or this rank's own elements of `out`.
        """
        _check_buffer("part", part, written=False)
        _check_buffer("out", out, written=True)
        own = self._own_part("out", out, counts, "part", part)
        if np.may_share_memory(part, out) and not same_memory(own, part):
            raise ValueError("part: overlaps out, expected another array or its part of out")
        if self.size > 1:
            self._all_gather(part.view(np.uint8), _bytes(counts, out), out.view(np.uint8))
        elif not same_memory(own, part):
            np.copyto(out, part)

    def broadcast(self, buffer: FloatArray, root: int = 0) -> None:
        """Copy the buffer of rank `root` to those of all."""
        _check_buffer("buffer", buffer, written=True)
        if not 0 <= root < self.size:
            raise ValueError(f"root: expected a rank of 0 to {self.size - 1}, got {root}")
        if self.size > 1:
            self._broadcast(buffer.reshape(-1).view(np.uint8), root)

    def barrier(self) -> None:
        """Return when every rank has called it."""
        if self.size > 1:
            self._barrier()

    @abstractmethod
    def abort(self, message: str) -> NoReturn:
        """Write the message to stderr, and end every process of the job."""

    # Of arguments that were checked, on more than one rank.

    @abstractmethod
    def _all_reduce(self, buffer: FloatArray, op: Op) -> Pending: ...

    @abstractmethod
    def _reduce_scatter(
        self, buffer: FloatArray, counts: Sequence[int], out: FloatArray
    ) -> None: ...

    @abstractmethod
    def _all_gather(self, part: FloatArray, counts: Sequence[int], out: FloatArray) -> None: ...

    @abstractmethod
    def _broadcast(self, buffer: FloatArray, root: int) -> None: ...

    @abstractmethod
    def _barrier(self) -> None: ...

    def _own_part(
        self, name: str, whole: FloatArray, counts: Sequence[int], part_name: str, part: FloatArray
    ) -> FloatArray:
        """Check that counts, whole and part fit, and return this rank's elements of the whole."""
        if whole.ndim != 1 or part.ndim != 1:
            raise ValueError(
                f"{name}, {part_name}: expected 1-D arrays, got {whole.ndim}-D and {part.ndim}-D"
            )
        if len(counts) != self.size or min(counts) < 0 or sum(counts) != whole.size:
            raise ValueError(
                f"counts: expected {self.size} numbers of at least 0 that add up to the "
                f"{whole.size} elements of {name}, got {list(counts)}"
            )
        if part.dtype != whole.dtype or part.size != counts[self.rank]:
            raise ValueError(
                f"{part_name}: expected {counts[self.rank]} elements of {whole.dtype}, "
                f"got {part.size} of {part.dtype}"
            )
        begin = sum(counts[: self.rank])
        return whole[begin : begin + counts[self.rank]]


class Single(Communicator):
    """One process alone: nothing is sent, nothing is copied that is in place.

    Examples
    --------
    >>> from softstep.distributed import Single
    >>> Single().size
    1
    """

    rank, size, timeout = 0, 1, float("inf")

    def abort(self, message: str) -> NoReturn:
        """Write the message to stderr, and exit with status 1."""
        sys.exit(message)

    def _all_reduce(self, buffer: FloatArray, op: Op) -> Pending:
        return Done()

    def _reduce_scatter(
        self, buffer: FloatArray, counts: Sequence[int], out: FloatArray
    ) -> None: ...

    def _all_gather(self, part: FloatArray, counts: Sequence[int], out: FloatArray) -> None: ...

    def _broadcast(self, buffer: FloatArray, root: int) -> None: ...

    def _barrier(self) -> None: ...


def late(comm: Communicator, name: str) -> TimeoutError:
    """Return the error for a collective that did not end."""
    return TimeoutError(
        f"rank {comm.rank} of {comm.size}: {name} did not end within {comm.timeout:g} s; another "
        "rank is late, gone or elsewhere in the program"
    )


def lost(comm: Communicator, name: str, error: Exception) -> ConnectionError:
    """Return the error for a collective that the engine gave up."""
    return ConnectionError(f"rank {comm.rank} of {comm.size}: {name} failed: {error}")


def _check_buffer(name: str, buffer: FloatArray, *, written: bool) -> None:
    if not isinstance(buffer, np.ndarray):
        raise TypeError(f"{name}: expected a NumPy array, got {type(buffer).__name__}")
    if buffer.dtype.hasobject:
        raise TypeError(f"{name}: expected numbers, got {buffer.dtype}")
    if not buffer.flags.c_contiguous:
        raise ValueError(f"{name}: expected a C-contiguous array, got strides {buffer.strides}")
    if written and not buffer.flags.writeable:
        raise ValueError(f"{name}: expected a writeable array, got one that is read-only")


def _check_reduced(buffer: FloatArray) -> None:
    if buffer.dtype not in _REDUCED:
        raise TypeError(f"buffer: expected float32, float64 or int64, got {buffer.dtype}")


def same_memory(a: FloatArray, b: FloatArray) -> bool:
    """Whether two arrays of one size begin at the same address."""
    return a.size == 0 or a.ctypes.data == b.ctypes.data


def _bytes(counts: Sequence[int], out: FloatArray) -> list[int]:
    return [count * out.itemsize for count in counts]
