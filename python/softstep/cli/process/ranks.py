"""A command on many ranks: all know what went wrong on one of them, and one says it."""

from __future__ import annotations

import io
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np

from softstep.cli.errors import CommandError, InputError, OtherRank, RunError
from softstep.cli.files.npy import Arrays
from softstep.cli.process.interrupts import Interrupted, interrupts_fatal
from softstep.distributed import Communicator, communicator
from softstep.distributed.engines.launch import launched_rank

# What ends a command with one line.
KNOWN = (CommandError, MemoryError, OSError)


def join(timeout: float) -> Communicator:
    """Return the ranks that the command was started on; a collective may take ``timeout``."""
    try:
        # An engine waits in C for the other ranks, where Python's handler would never be called.
        with interrupts_fatal():
            return communicator(timeout=timeout)
    except (ImportError, RuntimeError) as error:
        if launched_rank():
            raise OtherRank(1) from error
        raise RunError(str(error)) from error


@contextmanager
def agreed(comm: Communicator) -> Iterator[None]:
    """Leave with an error on every rank if there is one on any: the first of them says it.

    No collective may be called within.
    """
    error: BaseException | None = None
    try:
        yield
    except (Exception, KeyboardInterrupt) as caught:
        if comm.size == 1:
            raise
        error = caught
    status = 0 if error is None else _status(error)
    failed = np.array([0 if error is None else (comm.size - comm.rank) * 256 + status])
    comm.all_reduce(failed, "max")
    first, status = comm.size - int(failed[0]) // 256, int(failed[0]) % 256
    if error is not None and first == comm.rank:
        if isinstance(error, KNOWN):
            raise _named(error, comm) from error
        raise error
    if first < comm.size:
        raise OtherRank(status) from error


@contextmanager
def alike(comm: Communicator) -> Iterator[None]:
    """Let rank 0 alone say what is wrong on every rank alike."""
    try:
        yield
    except CommandError as error:
        if comm.rank > 0:
            raise OtherRank(error.status) from error
        raise


def same(comm: Communicator, what: str, content: str) -> None:
    """Refuse, on every rank, what is not the same on all of them."""
    checksum = zlib.crc32(content.encode())
    extremes = np.array([checksum, -checksum])
    comm.all_reduce(extremes, "max")
    with alike(comm):
        if extremes[0] != -extremes[1]:
            raise InputError(f"expected the same {what} on each of the {comm.size} ranks")


@contextmanager
def all_or_none(comm: Communicator, command: str, advice: Callable[[], str]) -> Iterator[None]:
    """End every rank, saying why, for an error that the others do not know of.

    They know of those that are a CommandError. What ``advice`` returns then follows the message.
    """
    try:
        yield
    except CommandError:
        raise
    except Exception as error:
        if comm.size == 1:
            raise
        if isinstance(error, ConnectionError | TimeoutError):
            # The cause, or the launcher, may say more about it, and end this rank meanwhile.
            time.sleep(1 + 0.5 * min(comm.rank, 4))
        if isinstance(error, KNOWN):
            message = f"softstep {command}: error: {_named(error, comm)}"
        else:
            message = "".join(traceback.format_exception(error)).rstrip()
        comm.abort("\n".join(filter(None, [message, advice()])))


def from_first(comm: Communicator, arrays: Arrays) -> Arrays:
    """Return the ``arrays`` of rank 0 on every rank."""
    if comm.size == 1:
        return arrays
    file = io.BytesIO()
    if comm.rank == 0:
        np.savez(file, **cast("dict[str, Any]", arrays))
    length = np.array([len(file.getbuffer())])
    comm.broadcast(length)
    content = np.zeros(int(length[0]), np.uint8)
    if comm.rank == 0:
        content[:] = np.frombuffer(file.getbuffer(), np.uint8)
    comm.broadcast(content)
    with np.load(io.BytesIO(content.tobytes()), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive}


def _status(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return error.status if isinstance(error, Interrupted) else 130
    return error.status if isinstance(error, CommandError) else 1


def _named(error: BaseException, comm: Communicator) -> CommandError:
    """Return the error as one line, with the rank if only that explains it."""
    text = f"not enough memory: {error}" if isinstance(error, MemoryError) else str(error)
    name = f"rank {comm.rank} of {comm.size}: "
    alone = comm.rank > 0 or not isinstance(error, CommandError)
    named = RunError(name + text if alone and not text.startswith(name) else text)
    named.status = _status(error)
    return named
