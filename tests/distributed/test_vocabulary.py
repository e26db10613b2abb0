"""Cross-entropy and the head with their classes on two processes, on each engine.

All checks of an engine are in one launch: a process costs seconds, a check nothing.
"""

from typing import Any

import numpy as np
import pytest

import softstep as ss
from softstep.distributed import (
    Communicator,
    Shard,
    communicator,
    cross_entropy_with_grad,
    linear_cross_entropy_with_grad,
)
from tests.distributed.cross_entropy_check import part_of, shard_of_rank
from tests.support.ranks import ENGINES, launch

CUTS, ROWS = [0, 30, 100], 50


def check_cross_entropy(comm: Communicator, x: Any, target: Any, **options: Any) -> None:
    shard = shard_of_rank(CUTS, comm.rank)
    whole, dwhole = ss.cross_entropy_with_grad(x, target, **options)
    logits, own_target, own = part_of(x, target, options, shard)
    loss, dlogits = cross_entropy_with_grad(logits, own_target, shard=shard, comm=comm, **own)
    np.testing.assert_allclose(loss, whole, rtol=1e-6)
    dwhole = dwhole[:, shard.begin : shard.end]
    np.testing.assert_allclose(dlogits, dwhole, rtol=1e-4, atol=1e-8)
    losses = np.tile(np.asarray(loss, np.float64).reshape(-1), (comm.size, 1))
    every = losses.reshape(-1).copy()
    comm.broadcast(every)
    np.testing.assert_array_equal(losses.reshape(-1), every)  # the bits of rank 0


def check_head(comm: Communicator, gathers: bool) -> None:
    rng = np.random.default_rng(1)
    hidden, weight = rng.normal(size=(ROWS, 8)), rng.normal(size=(CUTS[-1], 8))
    target = rng.integers(0, CUTS[-1], ROWS)
    target[::6] = -100
    whole, exact = ss.linear_cross_entropy_with_grad(hidden, weight, target, z_loss=0.1)
    shard, rows = shard_of_rank(CUTS, comm.rank), shard_of_rank([0, 15, ROWS], comm.rank)
    own = slice(rows.begin, rows.end) if gathers else slice(None)
    loss, gradients = linear_cross_entropy_with_grad(
        hidden[own], weight[shard.begin : shard.end], target, shard=shard, comm=comm,
        rows=rows if gathers else None, z_loss=0.1, workspace=20_000,
    )  # fmt: skip
    np.testing.assert_allclose(loss, whole, rtol=1e-13)
    np.testing.assert_allclose(gradients.dhidden, exact.dhidden[own], rtol=1e-11, atol=1e-15)
    dweight = exact.dweight[shard.begin : shard.end]
    np.testing.assert_allclose(gradients.dweight, dweight, rtol=1e-11, atol=1e-15)


def check_refused(comm: Communicator) -> None:
    """Rank 1 has a wrong argument, then another row count; then all is well again."""
    x, shard = np.zeros((4, 3)), Shard(3 * comm.rank, 3 * comm.rank + 3, 6)
    expected = (ValueError, "rank 1 refused") if comm.rank == 0 else (ValueError, "out: ")
    with pytest.raises(expected[0], match=expected[1]):
        out = np.zeros((4, 3 - comm.rank))
        cross_entropy_with_grad(x, [0, 1, 2, 3], shard=shard, comm=comm, out=out)
    for rows in (4 + comm.rank, 3000 * (1 + comm.rank)):
        with pytest.raises(ValueError, match="differ between the 2 ranks"):
            cross_entropy_with_grad(np.zeros((rows, 3)), [0] * rows, shard=shard, comm=comm)
    with pytest.raises(IndexError, match="row 3 has the value 6"):
        cross_entropy_with_grad(x, [0, 1, 2, 6], shard=shard, comm=comm)
    loss, _ = cross_entropy_with_grad(x, [0, 1, 2, 5], shard=shard, comm=comm)
    assert loss == pytest.approx(np.log(6))


def program() -> None:
    """What each of two processes runs."""
    comm = communicator(timeout=60)
    rng = np.random.default_rng(0)
    x = rng.normal(scale=3, size=(ROWS, CUTS[-1])).astype(np.float32)
    x[2, 20:60], x[4, 77], x[5, :30] = -np.inf, np.nan, -np.inf
    target = rng.integers(60, CUTS[-1], ROWS)
    target[7] = -100
    weight = rng.uniform(0.5, 2, CUTS[-1]).astype(np.float32)
    smoothed = {"label_smoothing": 0.1, "smoothing": "allowed"}
    check_cross_entropy(comm, x, target, reduction="none", z_loss=0.1)
    check_cross_entropy(comm, x, target, weight=weight, reduction="none", **smoothed)
    x[4, 77] = 0
    check_cross_entropy(comm, x, target, weight=weight, **smoothed)
    check_cross_entropy(comm, np.tile(x, (60, 1)), np.tile(target, 60), softcap=5.0)
    q = rng.dirichlet(np.ones(CUTS[-1]), ROWS).astype(np.float32)
    check_cross_entropy(comm, np.maximum(x, -9), q, temperature=2.0)
    check_head(comm, gathers=False)
    check_head(comm, gathers=True)
    check_refused(comm)
    print(f"rank {comm.rank} of {comm.size} is right", flush=True)


@pytest.mark.parametrize("engine", ENGINES)
def test_on_two_processes(engine: str) -> None:
    output = launch(engine, 2, __file__)
    for rank in range(2):
        assert f"rank {rank} of 2 is right" in output


if __name__ == "__main__":
    program()
