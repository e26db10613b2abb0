"""The collectives of every engine against NumPy, and a rank that is late."""

import re
import time
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from softstep.distributed import (
    MPI,
    Communicator,
    Single,
    Torch,
    communicator,
    even_shard,
    shard_of,
)
from tests.support.ranks import Counting, ThreadRanks, launch

SIZES = (1, 2, 3, 4)


def values(rank: int, count: int, dtype: Any) -> np.ndarray:
    """Return whole numbers, whose sums are exact, that differ between ranks and places."""
    return ((np.arange(count) * 7 + rank * 3) % 11 - 5).astype(dtype)


def uneven(size: int) -> list[int]:
    """Return counts with a rank that has nothing, if there is more than one."""
    return [(rank * 5 + 2) % 7 * (rank != 1) for rank in range(size)]


def check_collectives(comm: Communicator) -> None:
    """Assert what every communicator promises."""
    rank, size = comm.rank, comm.size
    for dtype in (np.float32, np.float64, np.int64):
        for count in (0, 1, 1000, 300_000):
            every = np.array([values(r, count, dtype) for r in range(size)])
            for op, expected in (("sum", every.sum(0)), ("max", every.max(0))):
                buffer = values(rank, count, dtype)
                comm.all_reduce(buffer, op)
                np.testing.assert_array_equal(buffer, expected)
        for counts in (uneven(size), [0] * size, [3] * size, [300_000, *[5] * (size - 1)]):
            total = sum(counts)
            every = np.array([values(r, total, dtype) for r in range(size)])
            begin = sum(counts[:rank])
            own = slice(begin, begin + counts[rank])
            out = np.full(counts[rank], 99, dtype)
            comm.reduce_scatter(values(rank, total, dtype), counts, out)
            np.testing.assert_array_equal(out, every.sum(0)[own])
            buffer = values(rank, total, dtype)
            comm.reduce_scatter(buffer, counts, buffer[own])
            np.testing.assert_array_equal(buffer[own], every.sum(0)[own])

    for dtype in (np.float64, np.uint8, np.float16, ml_dtypes.bfloat16):
        for counts in (uneven(size), [0] * size, [3] * size):
            expected = np.concatenate([values(r, counts[r], dtype) for r in range(size)])
            part = values(rank, counts[rank], dtype)
            part.flags.writeable = False
            out = np.zeros(sum(counts), dtype)
            comm.all_gather(part, counts, out)
            np.testing.assert_array_equal(out, expected)
            begin = sum(counts[:rank])
            out[:] = 0
            out[begin : begin + counts[rank]] = part
            comm.all_gather(out[begin : begin + counts[rank]], counts, out)
            np.testing.assert_array_equal(out, expected)
        for root in range(size):
            buffer = values(rank, 12, dtype).reshape(3, 4)
            comm.broadcast(buffer, root)
            np.testing.assert_array_equal(buffer, values(root, 12, dtype).reshape(3, 4))

    both = values(rank, 4000, np.float64), values(rank, 5, np.float32)
    pending = [
        comm.start_all_reduce(buffer, op) for buffer, op in zip(both, ("sum", "max"), strict=True)
    ]
    for item in reversed(pending):
        item.wait()
        item.wait()
    for buffer, reduce in zip(both, (np.sum, np.max), strict=True):
        every = [values(r, buffer.size, buffer.dtype) for r in range(size)]
        np.testing.assert_array_equal(buffer, reduce(every, axis=0))

    special = np.array([1.0, 2.0, np.inf, np.inf])
    if rank == size - 1:
        special[:] = np.nan, 2, np.inf, -np.inf if size > 1 else np.nan
    comm.all_reduce(special)
    np.testing.assert_array_equal(special, [np.nan, 2.0 * size, np.inf, np.nan])

    comm.barrier()
    count = rank * 2 + 1
    assert shard_of(count, comm) == (rank**2, (rank + 1) ** 2, size**2)


def check_refusals(comm: Communicator) -> None:
    """Assert that bad arguments raise, on this rank alone, and leave the others' calls alone."""
    fixed = np.zeros(4)
    fixed.flags.writeable = False
    ones = [1] * comm.size
    whole, part = np.zeros(comm.size), np.zeros(1)
    calls: list[tuple[str, Any]] = [
        ("buffer: expected a NumPy array, got list", lambda: comm.all_reduce([1.0])),
        (
            "buffer: expected float32, float64 or int64, got float16",
            lambda: comm.all_reduce(np.zeros(2, np.float16)),
        ),
        (
            "buffer: expected float32, float64 or int64, got >f8",
            lambda: comm.all_reduce(np.zeros(2, ">f8")),
        ),
        ("buffer: expected a C-contiguous array", lambda: comm.all_reduce(np.zeros(4)[::2])),
        ("buffer: expected a writeable array", lambda: comm.all_reduce(fixed)),
        ("buffer: expected a writeable array", lambda: comm.broadcast(fixed)),
        ("buffer: expected numbers, got object", lambda: comm.broadcast(np.array([None]))),
        ("op: expected 'sum' or 'max', got 'min'", lambda: comm.all_reduce(np.zeros(2), "min")),
        ("root: expected a rank", lambda: comm.broadcast(np.zeros(2), comm.size)),
        ("counts: expected", lambda: comm.reduce_scatter(whole, [*ones, 0], part)),
        ("counts: expected", lambda: comm.reduce_scatter(np.zeros(comm.size + 1), ones, part)),
        (
            "out: expected 1 elements of float64, got 1 of float32",
            lambda: comm.reduce_scatter(whole, ones, np.zeros(1, np.float32)),
        ),
        (
            "out: expected 1 elements of float64, got 2",
            lambda: comm.reduce_scatter(whole, ones, np.zeros(2)),
        ),
        ("part: expected 1 elements", lambda: comm.all_gather(np.zeros(2), ones, whole)),
        ("out: expected a writeable", lambda: comm.all_gather(np.zeros(1), ones, fixed)),
        ("out, part: expected 1-D arrays", lambda: comm.all_gather(np.array(1.0), ones, whole)),
    ]
    if comm.size > 1:
        other = (comm.rank + 1) % comm.size
        apart = whole[other : other + 1]
        calls.append(("out: overlaps buffer", lambda: comm.reduce_scatter(whole, ones, apart)))
        calls.append(("part: overlaps out", lambda: comm.all_gather(apart, ones, whole)))
    for message, call in calls:
        with pytest.raises((TypeError, ValueError), match=message):
            call()


def group_without_rank_0(comm: Communicator) -> Communicator | None:
    """Return a communicator from the engine's own group of ranks 1 and up; None on rank 0."""
    if isinstance(comm, MPI):
        from mpi4py import MPI as mpi

        part = mpi.COMM_WORLD.Split(min(comm.rank, 1))
        return MPI(part, timeout=60) if comm.rank else None
    import torch.distributed as dist

    group = dist.new_group(range(1, comm.size))
    return Torch(group, timeout=60) if comm.rank else None


def program() -> None:
    """Check the communicator of this process, and leave it when rank 1 is late."""
    comm = communicator(timeout=60)
    check_collectives(comm)
    if comm.rank == 0:
        check_refusals(comm)
    group = group_without_rank_0(comm)
    if group:
        assert (group.rank, group.size) == (comm.rank - 1, comm.size - 1)
        check_collectives(group)
    comm.barrier()
    if comm.rank == 0:
        print(f"{type(comm).__name__} {comm.size} checked", flush=True)
    comm.timeout = 1
    if comm.rank == 1:
        time.sleep(2)
    comm.all_reduce(np.zeros(3))


@pytest.mark.parametrize("size", SIZES)
def test_threads(size: int) -> None:
    ThreadRanks(size).run(check_collectives)


@pytest.mark.parametrize("size", [1, 2])
def test_refusals(size: int) -> None:
    ThreadRanks(size).run(check_refusals)


@pytest.mark.parametrize(("engine", "name"), [("mpi", "MPI"), ("gloo", "Torch")])
def test_engines(engine: str, name: str) -> None:
    output = launch(engine, 3, __file__, status=None)
    assert f"{name} 3 checked" in output
    # Ranks 0 and 2 give up together: the first to abort ends the other, perhaps in mid-sentence.
    assert re.search(r"TimeoutError: rank [02] of 3: all_reduce did not end within 1 s", output)


def test_single_neither_sends_nor_copies() -> None:
    comm = Counting(Single())
    check_collectives(comm)
    assert comm.calls == []
    with pytest.raises(SystemExit, match="why"):
        Single().abort("why")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("total", [0, 1, 3, 8, 1001])
def test_even_shards(size: int, total: int) -> None:
    shards = ThreadRanks(size).run(lambda comm: even_shard(total, comm))
    assert [shard.begin for shard in shards] == [0, *(shard.end for shard in shards[:-1])]
    assert shards[-1].end == total
    sizes = [shard.size for shard in shards]
    assert sorted(sizes, reverse=True) == sizes and sizes[0] - sizes[-1] <= 1


def test_shards_of_less_than_nothing() -> None:
    with pytest.raises(ValueError, match="total: expected at least 0, got -1"):
        even_shard(-1, Single())
    with pytest.raises(ValueError, match="count: expected at least 0, got -1"):
        shard_of(-1, Single())


if __name__ == "__main__":
    program()
