"""A sharded optimizer does what one process does with the sum of the gradients."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import softstep as ss
from softstep import schedules
from softstep.distributed import Communicator, ShardedOptimizer, Single, communicator
from tests.distributed.optimizer_check import SHAPES, SHARES, Case, assert_same, part
from tests.support.optimizer_cases import OPTIONS, Options, TorchOptimizer, arrays
from tests.support.ranks import Call, Counting, ThreadRanks, launch

SIZES = sorted(SHARES)
MOMENTUM: Options = {"momentum": 0.9, "weight_decay": 0.1, "nesterov": True}
DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]


def check_options(comm: Communicator, rule: str, every: int = 1) -> None:
    case = Case(1)
    for options in OPTIONS[rule][::every]:
        case.check(comm, rule, options)


def check_what_one_process_can(comm: Communicator) -> None:
    """What the grids leave out: dtypes, layouts, states, groups, scales, None."""
    for dtype in DTYPES:
        case = Case(2, dtype, missing=[(1, 0), (1, 4), (2, 4)])
        case.check(comm, "SGD", MOMENTUM, grad_scale=4.0)
        case.check(comm, "AdamW", {"weight_decay": 0.1, "min_decay_ndim": 2}, lr=0.01)
        case.check(comm, "AdamW", {"skip_nonfinite": True}, grad_scale=3.0)
        Case(3, dtype, order="F").check(comm, "AdamW", {})
        if dtype != np.float64:
            for rule in OPTIONS:
                options = MOMENTUM if rule == "SGD" else {}
                case.check(comm, rule, {**options, "state_dtype": "bfloat16"})
                case.check(comm, rule, {**options, "master": True})
    Case(4, shapes=[(1,), (), (0,)]).check(comm, "AdamW", {})  # fewer elements than ranks
    Case(5, shapes=[(0,), (0, 3)]).check(comm, "SGD", MOMENTUM)
    Case(6, shapes=[]).check(comm, "SGD", {})
    Case(7, missing=[(1, k) for k in range(len(SHAPES))]).check(comm, "AdamW", {})
    bits = Case(8, ml_dtypes.bfloat16)
    bits.start = [p.view(np.uint16) for p in bits.start]
    expected = Case(8, ml_dtypes.bfloat16).alone("SGD", MOMENTUM)[0]
    ours = bits.params()
    optimizer = ShardedOptimizer(ours, ss.SGD, 0.05, comm=comm, bfloat16_bits=True, **MOMENTUM)
    for grads in bits.grads:
        optimizer.step([part(g, comm).view(np.uint16) for g in grads])
    assert_same([p.view(ml_dtypes.bfloat16) for p in ours], expected, exact=True)


def grouped(params: list[Any]) -> list[Options]:
    return [
        {"params": params[:2], "weight_decay": 0.0},
        {"params": params[2:5], "lr": schedules.inverse_time(0.1, 0.5), "min_decay_ndim": 1},
        {"params": params[5:], "momentum": 0.5},
    ]


def check_groups_of_mixed_dtypes(comm: Communicator) -> None:
    """Options are changed between steps, as a trainer does."""
    case = Case(9)
    kinds = [DTYPES[k % 2] for k in range(len(SHAPES))]

    def train(make: Any, of_rank: Any) -> list[Any]:
        params = [p.astype(t) for p, t in zip(case.params(), kinds, strict=True)]
        optimizer = make(grouped(params))
        for step, grads in enumerate(case.grads):
            optimizer.param_groups[0]["weight_decay"] = 0.1 * step
            optimizer.param_groups[2]["min_decay_ndim"] = step
            optimizer.lr = 0.1 / (step + 1)
            optimizer.step([of_rank(g.astype(t)) for g, t in zip(grads, kinds, strict=True)])
        return params

    options: Any = {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.2}
    expected = train(lambda groups: ss.SGD(groups, **options), lambda grad: grad)
    ours = train(
        lambda groups: ShardedOptimizer(groups, ss.SGD, comm=comm, **options),
        lambda grad: part(grad, comm),
    )
    assert_same(ours, expected, exact=True)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rule", OPTIONS)
def test_every_option(rule: str, size: int) -> None:
    """All of them on 3 ranks, a third on the other numbers."""
    every = 1 if size == 3 else 3
    ThreadRanks(size).run(lambda comm: check_options(comm, rule, every))


@pytest.mark.parametrize("size", SIZES)
def test_what_one_process_can(size: int) -> None:
    ThreadRanks(size).run(check_what_one_process_can)


@pytest.mark.parametrize("size", SIZES)
def test_groups_of_mixed_dtypes(size: int) -> None:
    ThreadRanks(size).run(check_groups_of_mixed_dtypes)


@pytest.mark.parametrize("engine", ["mpi", "gloo"])
def test_engines(engine: str) -> None:
    assert "2 ranks checked" in launch(engine, 2, __file__)


def test_against_torch(rng: np.random.Generator) -> None:
    """PyTorch clips and steps with the mean of three ranks' gradients."""
    options: Options = {"weight_decay": 0.1, "max_norm": 1.0}
    start = arrays(rng, SHAPES)
    grads = [[arrays(rng, SHAPES) for _ in range(3)] for _ in range(4)]
    theirs = TorchOptimizer("AdamW", start, 0.05, **options)
    for step in grads:
        theirs.step([np.asarray(np.mean(g, axis=0)) for g in zip(*step, strict=True)])

    def train(comm: Communicator) -> list[Any]:
        params = [p.copy() for p in start]
        ours = ShardedOptimizer(params, ss.AdamW, 0.05, comm=comm, average=True, **options)
        for step in grads:
            ours.step(step[comm.rank])
        return params

    for ours in ThreadRanks(3).run(train):
        for a, b in zip(ours, theirs.params, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("options", [{}, {"max_norm": 1.0}, {"skip_nonfinite": True}], ids=str)
def test_bytes_of_a_step(size: int, options: Options) -> None:
    case = Case(10, np.float16)
    total = sum(p.size for p in case.start)

    def calls(comm: Communicator) -> list[Call]:
        counting = Counting(comm)
        params = case.params()
        optimizer = ShardedOptimizer(params, ss.AdamW, 0.05, comm=counting, **options)
        counting.calls.clear()
        optimizer.step([part(g, comm) for g in case.grads[0]])
        return counting.calls

    for found in ThreadRanks(size).run(calls):
        assert found == [
            Call("all_reduce", "max", 24),
            Call("reduce_scatter", "sum", 4 * total),
            *([Call("all_reduce", "sum", 8)] if options else []),
            Call("all_gather", None, 2 * total),
        ]


def test_one_rank_sends_nothing() -> None:
    comm = Counting(Single())
    Case(11).check(comm, "AdamW", {"max_norm": 1.0})
    assert comm.calls == []


@pytest.mark.parametrize("size", SIZES)
def test_state_is_divided(size: int) -> None:
    """Both moments of the elements that a rank owns, and no more."""
    case = Case(12)
    total = sum(p.size for p in case.start)

    def elements(comm: Communicator) -> int:
        _, optimizer, _ = case.sharded(comm, "AdamW", {})
        inner = optimizer._shards._pieces.optimizer if optimizer._shards else optimizer._whole
        return sum(state.size for state in inner.slots().values())

    counts = ThreadRanks(size).run(elements)
    assert sum(counts) == 2 * total and max(counts) <= 2 * -(-total // size)


if __name__ == "__main__":
    ranks = communicator(timeout=60)
    for name in OPTIONS:
        check_options(ranks, name, every=23)
    check_groups_of_mixed_dtypes(ranks)
    if ranks.rank == 0:
        print(f"{ranks.size} ranks checked")
