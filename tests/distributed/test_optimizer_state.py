"""The state of a sharded optimizer: through a file to any number of ranks and back."""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import softstep as ss
from softstep import schedules
from softstep.distributed import Communicator, ShardedOptimizer
from tests.distributed.optimizer_check import Case, assert_same, assert_same_state, part
from tests.support.optimizer_cases import Options
from tests.support.ranks import ThreadRanks

RULES: dict[str, Options] = {"SGD": {"momentum": 0.9, "dampening": 0.5}, "AdamW": {}}
KINDS: list[tuple[Any, Options]] = [
    (np.float64, {"weight_decay": 0.1}),
    (np.float32, {"state_dtype": "bfloat16"}),
    (np.float16, {"master": True}),
]
RATE = schedules.warmup(schedules.cosine(0.1, 10), 3)


def resumed(
    case: Case, size: int, rule: str, options: Options, start: list[Any], state: Any, steps: Any
) -> tuple[list[Any], dict[str, Any]]:
    """Go on from parameters and a state, if there is one; return both as they are then."""

    def go_on(comm: Communicator) -> tuple[list[Any], dict[str, Any]]:
        params = [p.copy(order="K") for p in start]
        ours = ShardedOptimizer(params, getattr(ss, rule), RATE, comm=comm, **options)
        if state is not None:
            ours.load_state_dict(state)
        for grads in case.grads[steps]:
            ours.step([part(g, comm) for g in grads])
        return params, ours.state_dict()

    results = ThreadRanks(size).run(go_on)
    for params, after in results[1:]:
        assert_same(params, results[0][0], exact=True)
        assert_same_state(after, results[0][1], exact=True)
    result: tuple[list[Any], dict[str, Any]] = results[0]
    return result


@pytest.mark.parametrize("sizes", [(3, 2, 1), (1, 4, 3), (2, 1, 2)], ids=str)
@pytest.mark.parametrize(("dtype", "options"), KINDS)
@pytest.mark.parametrize("rule", RULES)
def test_goes_on_at_another_size(
    rule: str, dtype: Any, options: Options, sizes: tuple[int, ...], tmp_path: Path
) -> None:
    """Two steps on each number of ranks are six on one process; size 1 is the plain optimizer's."""
    options = {**RULES[rule], **options}
    case = Case(20, dtype, steps=6, order="F", missing=[(0, 4), (1, 4), (3, 0)])
    params, state = case.params(), None
    for i, size in enumerate(sizes):
        params, state = resumed(case, size, rule, options, params, state, slice(2 * i, 2 * i + 2))
        np.savez(tmp_path / "state.npz", **state)
        with np.load(tmp_path / "state.npz") as file:
            state = dict(file)
    expected = case.params()
    alone = getattr(ss, rule)(expected, RATE, **options)
    for grads in case.grads:
        alone.step(grads)
    assert_same(params, expected, exact=True)
    assert_same_state(state or {}, alone.state_dict(), exact=True)


def test_before_the_first_step() -> None:
    """Masters are there, moments are not."""
    for options in ({}, {"master": True}):
        case = Case(21, np.float16, steps=0)
        expected = case.alone("AdamW", options)[1].state_dict()
        ours = resumed(case, 3, "AdamW", options, case.start, None, slice(0, 0))[1]
        assert ours.keys() == {k for k in expected if k != "param_groups.0.lr"}


def test_a_state_of_other_parameters() -> None:
    """Nothing changes, and the next step is that of one process."""
    case = Case(22)
    expected = case.alone("AdamW", {})[0]
    good = case.alone("AdamW", {})[1].state_dict()
    bad: list[tuple[Any, dict[str, Any]]] = [
        (ValueError, {**good, "state.0.exp_avg": np.zeros((4, 3))}),
        (ValueError, {**good, "state.0.exp_avg": np.zeros((3, 4), np.float32)}),
        (ValueError, {**good, "state.6.exp_avg": np.zeros(3)}),
        (ValueError, {**good, "param_groups.1.lr": 0.1}),
        (ValueError, {**good, "param_groups.0.weight_decay": -1.0}),
        (ValueError, {**good, "step": -1}),
        (KeyError, {k: v for k, v in good.items() if k != "state.5.exp_avg_sq"}),
    ]

    def train(comm: Communicator) -> list[Any]:
        params = case.params()
        ours = ShardedOptimizer(params, ss.AdamW, 0.05, comm=comm)
        for error, state in bad:
            with pytest.raises(error):
                ours.load_state_dict(state)
        for grads in case.grads:
            ours.step([part(g, comm) for g in grads])
        return params

    for ours in ThreadRanks(3).run(train):
        assert_same(ours, expected, exact=True)


@pytest.mark.parametrize("size", [2, 3])
def test_stochastic_rounding(size: int) -> None:
    """Right on average, the same again, and again after a resume, and not alike on two ranks."""
    count, steps = 6000, 40
    grad = np.full(count, 2.0**-9, ml_dtypes.bfloat16)  # a quarter of a unit of 1

    def train(comm: Communicator, stop: int | None = None) -> Any:
        param = np.ones(count, ml_dtypes.bfloat16)
        options: Options = {"stochastic_rounding": True, "seed": 3, "maximize": True}
        ours = ShardedOptimizer([param], ss.SGD, 1.0, comm=comm, **options)
        for step in range(steps):
            if step == stop:
                state = ours.state_dict()
                assert state["seed"] == 3
                ours = ShardedOptimizer([param], ss.SGD, 1.0, comm=comm, **{**options, "seed": 4})
                ours.load_state_dict(state)
            ours.step([part(grad, comm)])
        return param.astype(np.float64)

    once, again = (ThreadRanks(size).run(lambda comm, s=s: train(comm, s))[0] for s in (None, 20))
    np.testing.assert_array_equal(once, again)
    # Each step adds 2**-7 with the probability 1/4.
    deviation = 2.0**-7 * np.sqrt(steps * 3 / 16 / count)
    assert abs(once.mean() - (1 + steps * 2.0**-9)) < 5 * deviation
    ranks = np.split(once, size)
    assert (ranks[0] == ranks[1]).mean() < 0.5


def test_amsgrad_of_one_group() -> None:
    """Its third state is divided too, for the parameters that have it."""
    case = Case(23, steps=4, shapes=[(5,), (2, 3), (7,)])

    def train(make: Any, of_rank: Any) -> tuple[list[Any], Any]:
        params = case.params()
        groups = [{"params": params[:2], "amsgrad": True}, {"params": params[2:]}]
        ours = make(groups)
        for step, grads in enumerate(case.grads):
            if step == 2:
                state, ours = ours.state_dict(), make(groups)
                ours.load_state_dict(state)
            ours.step([of_rank(0.1**step * g) for g in grads])
        return params, ours.state_dict()

    expected, state = train(lambda groups: ss.AdamW(groups, 0.05), lambda grad: grad)
    assert [key for key in state if "max_exp" in key] == [
        f"state.{k}.max_exp_avg_sq" for k in range(2)
    ]

    def sharded(comm: Communicator) -> Any:
        return train(
            lambda groups: ShardedOptimizer(groups, ss.AdamW, 0.05, comm=comm),
            lambda grad: part(grad, comm),
        )

    for params, found in ThreadRanks(3).run(sharded):
        assert_same(params, expected, exact=True)
        assert_same_state(found, state, exact=True)


def test_a_schedule_that_a_constant_replaces_is_said() -> None:
    """By every rank."""
    case = Case(24, steps=1)
    state = case.alone("SGD", {"momentum": 0.9})[1].state_dict()

    def load(comm: Communicator) -> Any:
        ours = ShardedOptimizer(case.params(), ss.SGD, RATE, comm=comm, momentum=0.9)
        ours.load_state_dict(state)
        return ours.lr

    with pytest.warns(
        UserWarning, match=r"^load_state_dict: param_groups\[0\]\['lr'\] was"
    ) as said:
        assert ThreadRanks(2).run(load) == [0.05, 0.05]
    assert len(said) == 2


@pytest.mark.parametrize("size", [2, 3])
def test_dampening_after_a_first_step_that_was_skipped(size: int) -> None:
    options: Options = {"momentum": 0.5, "dampening": 0.5, "skip_nonfinite": True}

    def train(comm: Communicator) -> Any:
        p = np.zeros(4)
        ours = ShardedOptimizer([p], ss.SGD, 1.0, comm=comm, average=True, **options)
        bad = np.ones(4)
        bad[3] = np.nan if comm.rank == 0 else 1
        assert ours.step([bad]).skipped and "state.0.momentum_buffer" not in ours.state_dict()
        state = ours.state_dict()
        again = ShardedOptimizer([p], ss.SGD, 1.0, comm=comm, average=True, **options)
        again.load_state_dict(state)
        for expected in (-1, -2):  # b = 1, b = 1/2 + 1/2
            again.step([np.ones(4)])
            np.testing.assert_array_equal(p, expected)

    ThreadRanks(size).run(train)
