"""Numbers that are not finite, arguments that do not fit or match, buffers without a copy."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import softstep as ss
from softstep.distributed import Communicator, ShardedOptimizer
from tests.distributed.optimizer_check import SHAPES, Case, assert_same, part
from tests.support.optimizer_cases import Options
from tests.support.ranks import Counting, ThreadRanks

SPECIAL = [1e300, np.inf, -np.inf, np.nan, 1e-300, 5e-324]


@pytest.mark.parametrize(
    "options",
    [{"max_norm": 1.0}, {"max_norm": 1e-320}, {"max_norm": np.inf}, {"skip_nonfinite": True}],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
def test_special_gradients(dtype: Any, options: Options) -> None:
    """One rank has it; all do what one process does."""
    for special in SPECIAL:
        case = Case(30, dtype, steps=2)
        with np.errstate(over="ignore"):
            case.grads[0][5][130] = special
        ThreadRanks(3).run(lambda comm, case=case: case.check(comm, "SGD", options))


def test_a_sum_beyond_half_precision_is_skipped() -> None:
    grad = np.full(3, 6e4, np.float16)

    def train(comm: Communicator) -> Any:
        param = np.zeros(3, np.float16)
        ours = ShardedOptimizer([param], ss.SGD, 1.0, comm=comm, skip_nonfinite=True)
        return ours.step([grad], zero_grads=True), ours.steps, param

    for result, steps, param in ThreadRanks(2).run(train):
        assert result == (np.inf, True) and steps == 0 and not param.any()
    assert (grad == 6e4).all()


def test_half_precision_is_rounded_once(rng: np.random.Generator) -> None:
    """The float32 sum to nearest, ties to even, as ml_dtypes does."""
    parts = rng.standard_normal((3, 4000)).astype(ml_dtypes.bfloat16)
    parts[:, 0], parts[1, 1], parts[2, 2] = 3e38, np.nan, np.inf
    parts[:, 3:7] = [[1, 1, 257, 0], [2.0**-8, 3 * 2.0**-8, 0, 0], [0, 0, 0, -0.0]]
    with np.errstate(over="ignore"):
        expected = parts.astype(np.float32).sum(0).astype(ml_dtypes.bfloat16)

    def train(comm: Communicator) -> Any:
        param = np.zeros(4000, np.uint16)
        options: Options = {"bfloat16_bits": True, "maximize": True}
        ours = ShardedOptimizer([param], ss.SGD, 1.0, comm=comm, **options)
        ours.step([parts[comm.rank].view(np.uint16)])
        return param.view(ml_dtypes.bfloat16).astype(np.float32)

    for param in ThreadRanks(3).run(train):
        np.testing.assert_array_equal(param, expected.astype(np.float32))


def refused(comm: Communicator, call: Callable[[], Any], by: int, message: str) -> None:
    """Assert that every rank raises: one its own error, the others that it did."""
    expected = message if comm.rank == by or by < 0 else f"rank {by} refused its arguments"
    with pytest.raises((TypeError, ValueError), match=expected):
        call()


def test_no_rank_goes_on_alone() -> None:
    """What one rank refuses, or the ranks do not agree on, changes nothing anywhere."""
    case = Case(31, np.float32)
    expected = case.alone("AdamW", {})[0]

    def train(comm: Communicator) -> Any:
        mine = comm.rank == 1
        params = case.params()
        ours = ShardedOptimizer(params, ss.AdamW, 0.05, comm=comm)
        grads = [part(g, comm) for g in case.grads[0]]

        def with_first(value: Any) -> list[Any]:
            return [value, *grads[1:]] if mine else grads

        def step(*arguments: Any, **options: Any) -> Callable[[], Any]:
            return lambda: ours.step(*arguments, **options)

        shape, fixed = np.zeros((4, 3), np.float32), grads[0].copy()
        fixed.flags.writeable = False
        refused(comm, step(with_first(shape)), 1, r"grads\[0\]: expected shape \(3, 4\)")
        wrong = with_first(np.zeros((3, 4)))
        refused(comm, step(wrong), 1, r"grads\[0\]: expected float32, got float64")
        refused(comm, step(with_first(fixed), zero_grads=True), 1, r"grads\[0\]: .* writeable")
        refused(comm, step(grads[mine:]), 1, "grads: expected 6 arrays, .*, got 5")
        refused(comm, step(grads, lr=-1.0 if mine else 0.05), 1, "lr: expected")
        refused(comm, step(grads, grad_scale=0.0 if mine else 1.0), 1, "grad_scale: expected")
        refused(comm, step(with_first(None)), -1, "differ between ranks")
        refused(comm, step(grads, lr=0.1 if mine else 0.05), -1, "differ between ranks")
        refused(comm, step(grads, grad_scale=2.0 if mine else 1.0), -1, "differ between ranks")
        masked = with_first(np.ma.masked_array(grads[0], grads[0] > 0))
        refused(comm, step(masked), 1, r"grads\[0\]: expected an array without a mask")
        params[0].flags.writeable = not mine
        refused(comm, step(grads), 1, r"params\[0\]: .* writeable")
        params[0].flags.writeable = True
        assert_same(params, case.start, exact=True)
        for grads in case.grads:
            ours.step([part(g, comm) for g in grads])
        return params

    for params in ThreadRanks(3).run(train):
        assert_same(params, expected, exact=True)


def test_optimizers_that_do_not_match() -> None:
    def make(comm: Communicator) -> None:
        mine = comm.rank == 1

        def of(params: Any, kind: Any = ss.SGD, lr: Any = 0.1, **options: Any) -> Any:
            return lambda: ShardedOptimizer(params, kind, lr, comm=comm, **options)

        wide = np.zeros((4, 6))
        refused(comm, of([wide[:, ::2] if mine else np.zeros((4, 3))]), 1, "without gaps")
        refused(comm, of(wide if mine else [wide]), 1, "params: expected a list")
        refused(comm, of([wide, wide] if mine else [wide]), 1, "overlaps")
        refused(comm, of([np.ma.masked_array(wide) if mine else wide]), 1, "without a mask")
        refused(comm, of([wide], lr=-1.0 if mine else 1.0), 1, "lr: expected")
        refused(comm, of([wide], **({"betas": (0, 0)} if mine else {})), 1, "betas")
        refused(comm, of([wide], lr=0.1 + mine), -1, "differ between ranks")
        refused(comm, of([wide], kind=ss.AdamW if mine else ss.SGD), -1, "differ between ranks")
        refused(comm, of([wide], average=mine), -1, "differ between ranks")
        refused(comm, of([np.full(3, float(mine))]), -1, "differ between ranks")
        refused(comm, of([wide, np.ones(2)] if mine else [wide]), -1, "differ between ranks")
        refused(comm, of([wide], master=mine), -1, "differ between ranks")

    ThreadRanks(3).run(make)
    with pytest.raises(TypeError, match="optimizer_class: expected SGD or AdamW"):
        ShardedOptimizer([np.zeros(2)], "SGD", 0.1)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("layout", ["apart", "one row"])
def test_gradients_and_parameters_in_place(layout: str, size: int) -> None:
    """The attribute `grads`, parameters in one array, zeros afterwards, one call of a schedule."""
    case = Case(32, np.float32, order="F")
    total = sum(p.size for p in case.start)
    asked: list[int] = []

    def rate(step: int) -> float:
        asked.append(step)
        return 0.05

    def train(comm: Communicator) -> Any:
        params = case.params()
        if layout == "one row":
            row = np.zeros(total + 7, np.float32)[3:-4]
            ends = np.cumsum([p.size for p in params])
            parts = np.split(row, ends[:-1])
            views = [r.reshape(p.shape[::-1]).T for r, p in zip(parts, params, strict=True)]
            for view, p in zip(views, params, strict=True):
                view[...] = p
            params = views
        ours = ShardedOptimizer(params, ss.AdamW, rate, comm=Counting(comm))
        if comm.size > 1:
            (item,) = ours._shards._gradients
            assert (item.flat.row is not None) == (layout == "one row")
            assert all(np.may_share_memory(g, item.buffer) for g in ours.grads if g.size)
        for grads in case.grads:
            for k, grad in enumerate(grads):
                ours.grads[k][...] = part(grad, comm)
            ours.step(zero_grads=True)
            assert not any(g.any() for g in ours.grads)
        return params

    expected = case.alone("AdamW", {})[0]
    for params in ThreadRanks(size).run(train):
        assert_same(params, expected, exact=True)
    assert sorted(asked) == sorted([0, 1, 2] * size)


def test_settings_between_steps() -> None:
    case = Case(33)

    def train(make: Any, of_rank: Any) -> Any:
        params = case.params()
        ours = make(params)
        assert ours.lr == 0.05 and len(ours.params) == len(SHAPES)
        ours.lr, ours.skip_nonfinite = 0.1, True
        first = ours.step([of_rank(g) for g in case.grads[0]])
        ours.max_norm = 2.0
        assert ours.max_norm == 2.0 and ours.skip_nonfinite and ours.steps == 1
        return params, first, ours.step([of_rank(g) for g in case.grads[1]])

    expected, *told = train(lambda params: ss.SGD(params, 0.05), lambda grad: grad)

    def sharded(comm: Communicator) -> Any:
        def make(params: Any) -> Any:
            return ShardedOptimizer(params, ss.SGD, 0.05, comm=comm)

        return train(make, lambda grad: part(grad, comm))

    for params, *results in ThreadRanks(3).run(sharded):
        assert_same(params, expected, exact=False)
        np.testing.assert_allclose([r.norm for r in results], [r.norm for r in told], rtol=1e-13)


def test_groups_that_are_replaced() -> None:
    """On every rank, if one of them has other groups; nothing changes."""
    case = Case(34, shapes=[(3,), (3,), (4,)])

    def train(comm: Communicator) -> None:
        params = case.params()
        groups = [{"params": params[:2]}, {"params": params[2:], "lr": 0.5}]
        ours = ShardedOptimizer(groups, ss.AdamW, 0.05, comm=comm)
        grads = [part(g, comm) for g in case.grads[0]]
        ours.step(grads)
        before, state = [p.copy() for p in params], ours.state_dict()
        if comm.rank == 1:
            ours.param_groups[0]["params"].reverse()
        refused(comm, lambda: ours.step(grads), 1, r"^param_groups: expected the groups")
        if comm.rank == 1:
            with pytest.raises(ValueError, match=r"^param_groups: expected the groups"):
                ours.load_state_dict(state)
            with pytest.raises(AttributeError):
                ours.param_groups = groups  # type: ignore[misc]
            ours.param_groups[0]["params"].reverse()
        assert_same(params, before, exact=True)
        if comm.rank == 1:
            params[0].dtype = np.dtype(np.int64)
        refused(comm, lambda: ours.step(grads), 1, r"^params\[0\]: has another shape or dtype")
        if comm.rank == 1:
            params[0].dtype = np.dtype(np.float64)
        assert_same(params, before, exact=True)
        ours.step(grads)

    ThreadRanks(3).run(train)


@pytest.mark.parametrize("size", [1, 2])
def test_copies_are_refused(size: int) -> None:
    def copied(comm: Communicator) -> None:
        ours = ShardedOptimizer([np.ones(3)], ss.SGD, 0.1, comm=comm)
        for way in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match=r"^ShardedOptimizer: cannot be copied or pickled"):
                way(ours)

    ThreadRanks(size).run(copied)
