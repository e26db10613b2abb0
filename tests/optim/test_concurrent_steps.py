"""One optimizer and many, called by several Python threads at the same time."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import softstep as ss
from softstep import _core
from tests.support.callers import CALLERS, every_one
from tests.support.optimizer_cases import arrays

BUSY = "another thread is in a step of this optimizer"


class Held:
    """A schedule whose step waits inside until it is let go on."""

    def __init__(self) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.steps: list[int] = []

    def __call__(self, step: int) -> float:
        self.steps.append(step)
        self.entered.set()
        assert self.go_on.wait(60)
        return 0.5


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("step", lambda sgd: sgd.step([np.ones(3)])),
        ("state_dict", lambda sgd: sgd.state_dict()),
        ("load_state_dict", lambda sgd: sgd.load_state_dict({})),
    ],
)
def test_refused_from_the_first_line_of_a_step_to_its_last(
    name: str, call: Callable[[ss.SGD], Any]
) -> None:
    param, rate = np.ones(3), Held()
    sgd = ss.SGD([param], rate, momentum=0.5)
    with ThreadPoolExecutor(1) as pool:
        step = pool.submit(sgd.step, [np.ones(3)])
        assert rate.entered.wait(60)
        try:
            with pytest.raises(RuntimeError, match=f"^{name}: {BUSY}"):
                call(sgd)
        finally:
            rate.go_on.set()
        step.result()
    assert rate.steps == [0] and sgd.steps == 1
    assert np.array_equal(param, np.full(3, 0.5))
    sgd.step([np.ones(3)])  # free again
    assert rate.steps == [0, 1]


def test_a_step_that_raises_leaves_the_optimizer_free() -> None:
    param = np.ones(3)
    sgd = ss.SGD([param], 0.5)
    with pytest.raises(ValueError, match="expected 1 arrays"):
        sgd.step([])
    sgd.step([np.ones(3)])
    assert sgd.steps == 1


class CallsBack:
    """A gradient that does something else while it is made an array."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        self.call()
        return np.ones(3)


def test_a_plan_is_taken_before_its_gradients_are_looked_at() -> None:
    param = np.ones(3)
    plan = _core.UpdatePlan("sgd", [param], [], [], np.zeros(1, np.int64), [0], False)
    numbers = ss.SGD([np.ones(3)], 0.5).ledger.numbers()
    refused = []

    def step(grad: Any) -> None:
        plan.step([grad], numbers, None, False, 1.0, False, None, 0)

    def step_again() -> None:
        with pytest.raises(RuntimeError, match=BUSY):
            step(np.ones(3))
        refused.append(True)

    step(CallsBack(step_again))
    assert refused == [True]
    assert np.array_equal(param, np.full(3, 0.5))


def test_steps_and_states_of_one_optimizer_are_whole_or_refused(fast_switches: None) -> None:
    param = np.zeros(1000)
    sgd = ss.SGD([param], 1.0, momentum=0.5)
    grad = np.full(1000, -1.0)
    states: list[dict[str, Any]] = []

    def work(_: int) -> int:
        done = 0
        for _ in range(200):
            try:
                sgd.step([grad])
                done += 1
                states.append(sgd.state_dict())
            except RuntimeError as error:
                assert BUSY in str(error)
        return done

    done = sum(every_one(work))
    assert sgd.steps == done and sgd.state_dict()["step"] == done
    momentum, position = [0.0], [0.0]
    for _ in range(done):
        momentum.append(0.5 * momentum[-1] + 1)
        position.append(position[-1] + momentum[-1])
    assert np.array_equal(param, np.full(1000, position[done]))
    for state in states:
        buffer = state["state.0.momentum_buffer"]
        assert np.array_equal(buffer, np.full(1000, -momentum[state["step"]]))


@pytest.mark.parametrize("rule", ["SGD", "AdamW"])
def test_optimizers_of_their_own_do_not_meet(
    rng: np.random.Generator, fast_switches: None, rule: str
) -> None:
    start = arrays(rng, [(300, 7), (11,)], np.float32)
    grads = [arrays(rng, [(300, 7), (11,)], np.float32) for _ in range(CALLERS)]

    def train(i: int) -> list[np.ndarray]:
        params = [p.copy() for p in start]
        optimizer = getattr(ss, rule)(params, 0.1, weight_decay=0.01, max_norm=1.0)
        for _ in range(50):
            optimizer.step(grads[i])
        return params

    expected = [train(i) for i in range(CALLERS)]
    for found, wanted in zip(every_one(train), expected, strict=True):
        for got, want in zip(found, wanted, strict=True):
            assert got.tobytes() == want.tobytes()


def test_lists_that_change_while_they_are_read(fast_switches: None) -> None:
    grads: list[np.ndarray] = [np.zeros(5)] * 50
    params = [np.zeros(5) for _ in range(50)]
    sgd = ss.SGD(params, 0.5)
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            grads.append(np.zeros(5))
            grads.pop()

    other = threading.Thread(target=change)
    other.start()
    try:
        for _ in range(500):
            try:
                sgd.step(grads)
            except ValueError as error:
                assert str(error) == "grads: expected 50 arrays, one for each parameter, got 51"
    finally:
        stop.set()
        other.join()
    assert not np.any(params)
