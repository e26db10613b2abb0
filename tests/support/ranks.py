"""Many ranks: programs under mpiexec and torchrun, and threads of this process."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pytest

from softstep.distributed import Communicator, Pending
from tests.support.paths import importing_tests

MPIEXEC = shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or shutil.which("mpiexec")
ENGINES = ("mpi", "gloo")


def need(engine: str) -> None:
    """Skip the test, by name, where the engine is not installed."""
    pytest.importorskip("mpi4py" if engine == "mpi" else "torch")
    if engine == "mpi" and MPIEXEC is None:
        pytest.skip("no mpiexec")


def commands(engine: str, size: int) -> list[tuple[list[str], dict[str, str]]]:
    """Return what starts Python on this many ranks, each with its additions to the environment."""
    if engine == "mpi":
        return [([str(MPIEXEC), "-n", str(size), sys.executable], {})]
    if engine == "torchrun":
        run = "torch.distributed.run", "--standalone", f"--nproc-per-node={size}"
        return [([sys.executable, "-m", *run], {})]
    # What torchrun does, without a process more that imports PyTorch.
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(server.getsockname()[1])}
    ranks = [{"RANK": str(rank), "WORLD_SIZE": str(size), **address} for rank in range(size)]
    return [([sys.executable], rank) for rank in ranks]


def launch(
    engine: str,
    size: int,
    *words: object,
    timeout: float = 100,
    status: int | None = 0,
    cwd: Path | None = None,
) -> str:
    """Run a Python program, with its arguments, on many ranks: "mpi", "gloo" or "torchrun".

    Return stdout and stderr of all, in no order. Fails if it does not end in time, when all of its
    processes are killed, or has another exit status; None is any but 0.
    """
    need(engine)
    environment = {**importing_tests(), "SOFTSTEP_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile("w+") as output:
        processes = [
            subprocess.Popen(
                [*start, *map(str, words)],
                env={**environment, **more},
                stdout=output,
                stderr=output,
                cwd=cwd,
                start_new_session=True,
            )
            for start, more in commands(engine, size)
        ]
        deadline = time.monotonic() + timeout
        try:
            ends = [process.wait(max(0, deadline - time.monotonic())) for process in processes]
        except subprocess.TimeoutExpired:
            ends = []
        finally:
            for process in processes:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        output.seek(0)
        text = output.read()
    assert ends, f"{engine} on {size} ranks did not end within {timeout} s:\n{text}"
    expected = max(map(abs, ends)) == status if status is not None else any(ends)
    assert expected, f"{engine} on {size} ranks ended with {ends}:\n{text}"
    return text


class _Later(Pending):
    """Gives the result when it is waited for; until then the buffer is not to be used."""

    def __init__(self, buffer: np.ndarray, result: np.ndarray) -> None:
        self.buffer, self.result = buffer, result
        buffer.fill(-77)

    def wait(self) -> None:
        np.copyto(self.buffer, self.result)


class _Thread(Communicator):
    def __init__(self, ranks: "ThreadRanks", rank: int) -> None:
        self.ranks, self.rank, self.size, self.timeout = ranks, rank, ranks.size, ranks.timeout

    def exchange(self, what: tuple[object, ...], buffer: np.ndarray) -> list[np.ndarray]:
        """Return copies of the buffers of all ranks, which have to be in the same collective."""
        self.ranks.slots[self.rank] = (*what, buffer.dtype, buffer.size), buffer
        try:
            self.ranks.barrier.wait(self.timeout)
            slots = list(self.ranks.slots)
            copies = [slot[1].copy() for slot in slots]
            self.ranks.barrier.wait(self.timeout)
        except threading.BrokenBarrierError as error:
            raise ConnectionError(f"rank {self.rank}: {what[0]}: another rank failed") from error
        assert all(slot[0] == slots[0][0] for slot in slots), [slot[0] for slot in slots]
        return copies

    def abort(self, message: str) -> NoReturn:
        raise SystemExit(message)

    def _all_reduce(self, buffer: np.ndarray, op: str) -> Pending:
        reduce = np.sum if op == "sum" else np.max
        parts = self.exchange(("all_reduce", op), buffer)
        if op == "max":
            assert not np.isnan(parts).any(), "a maximum of NaN is whatever the engine makes of it"
        with np.errstate(invalid="ignore", over="ignore"):
            return _Later(buffer, reduce(parts, axis=0))

    def _reduce_scatter(self, buffer: np.ndarray, counts: Sequence[int], out: np.ndarray) -> None:
        parts = self.exchange(("reduce_scatter", *counts), buffer)
        with np.errstate(invalid="ignore", over="ignore"):
            total = np.sum(parts, axis=0)
        buffer.fill(-77)
        out[:] = np.split(total, np.cumsum(counts)[:-1])[self.rank]

    def _all_gather(self, part: np.ndarray, counts: Sequence[int], out: np.ndarray) -> None:
        padded = np.zeros(max(counts), np.uint8)
        padded[: part.size] = part
        parts = self.exchange(("all_gather", *counts), padded)
        out[:] = np.concatenate([p[:count] for p, count in zip(parts, counts, strict=True)])

    def _broadcast(self, buffer: np.ndarray, root: int) -> None:
        buffer[:] = self.exchange(("broadcast", root), buffer)[root]

    def _barrier(self) -> None:
        self.exchange(("barrier",), np.empty(0))


class ThreadRanks:
    """Ranks that are threads of this process: quick, and their results are at hand."""

    def __init__(self, size: int, timeout: float = 30) -> None:
        self.size, self.timeout = size, timeout
        self.barrier = threading.Barrier(size)
        self.slots: list[Any] = [None] * size

    def run(self, function: Callable[[Communicator], Any]) -> list[Any]:
        """Call it on every rank; return their results, or raise the first error."""
        results: list[Any] = [None] * self.size
        errors: list[BaseException | None] = [None] * self.size

        def call(rank: int) -> None:
            try:
                results[rank] = function(_Thread(self, rank))
            except BaseException as error:
                errors[rank] = error
                self.barrier.abort()

        threads = [threading.Thread(target=call, args=(rank,)) for rank in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # A rank that lost the others is not the cause.
        failed = [error for error in errors if error]
        causes = [error for error in failed if not isinstance(error, ConnectionError)]
        for error in causes or failed:
            raise error
        return results


class Call(NamedTuple):
    """A collective: its name, its op or None, and the bytes of the whole buffer."""

    name: str
    op: str | None
    bytes: int


class Counting(Communicator):
    """Passes everything on to another communicator, and keeps a list of it in `calls`."""

    def __init__(self, inner: Communicator) -> None:
        self.inner, self.calls = inner, list[Call]()
        self.rank, self.size, self.timeout = inner.rank, inner.size, inner.timeout

    def abort(self, message: str) -> NoReturn:
        self.inner.abort(message)

    def _all_reduce(self, buffer: np.ndarray, op: str) -> Pending:
        self.calls.append(Call("all_reduce", op, buffer.nbytes))
        return self.inner._all_reduce(buffer, op)

    def _reduce_scatter(self, buffer: np.ndarray, counts: Sequence[int], out: np.ndarray) -> None:
        self.calls.append(Call("reduce_scatter", "sum", buffer.nbytes))
        self.inner._reduce_scatter(buffer, counts, out)

    def _all_gather(self, part: np.ndarray, counts: Sequence[int], out: np.ndarray) -> None:
        self.calls.append(Call("all_gather", None, out.nbytes))
        self.inner._all_gather(part, counts, out)

    def _broadcast(self, buffer: np.ndarray, root: int) -> None:
        self.calls.append(Call("broadcast", None, buffer.nbytes))
        self.inner._broadcast(buffer, root)

    def _barrier(self) -> None:
        self.calls.append(Call("barrier", None, 0))
        self.inner._barrier()
