"""Threads: the same bits for every number of them, for callers side by side, in any float mode."""

import ctypes
import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest

import softstep as ss
from tests.support.callers import CALLERS, every_one
from tests.support.worker_threads import worker_threads

Arrays = tuple[np.ndarray | float, ...]
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc or sets the affinity")
pool = pytest.mark.skipif(
    ss.show_config().parallel_backend != "pool", reason="about the threads of the pool"
)


def logits_of(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return np.random.default_rng(5).standard_normal(shape).astype(dtype) * 4


def softmax_family(x: np.ndarray, axis: int) -> Arrays:
    y = ss.softmax(x, axis=axis, temperature=1.5)
    log_y = ss.log_softmax(x, axis=axis)
    return (
        y,
        log_y,
        ss.logsumexp(x, axis=axis),
        ss.entropy(x, axis=axis),
        ss.softmax_backward(x, y, axis=axis),
        ss.log_softmax_backward(x, log_y, axis=axis),
    )


def cross_entropies(x: np.ndarray, axis: int) -> Arrays:
    rng = np.random.default_rng(6)
    classes = x.shape[axis]
    target = rng.integers(classes, size=x.size // classes)
    target[::7] = -100
    weight = rng.random(classes).astype(x.dtype)
    probabilities = ss.softmax(x[::-1], axis=axis)
    return (
        *ss.cross_entropy_with_grad(
            x, target, axis=axis, weight=weight, label_smoothing=0.1, z_loss=1e-4
        ),
        *ss.cross_entropy_with_grad(x, probabilities, axis=axis),
        ss.cross_entropy(x, target, axis=axis, reduction="sum"),
    )


def other_losses(x: np.ndarray, axis: int) -> Arrays:
    target = np.random.default_rng(7).integers(x.shape[axis], size=x.size // x.shape[axis])
    return (
        *ss.squared_error_with_grad(x, x[::-1]),
        *ss.hinge_with_grad(x, target, axis=axis),
        *ss.hinge_with_grad(x, np.sign(x[::-1])),
        ss.l2_penalty([x, x[0]], 1e-3),
    )


def three_steps(x: np.ndarray, axis: int) -> Arrays:
    params = [x.copy(), x[0].copy()]
    sgd = ss.SGD(params, 0.1, momentum=0.9, nesterov=True, weight_decay=1e-3)
    for step in range(3):
        sgd.step([x * step, x[0]])
    return tuple(params)


def head(x: np.ndarray, axis: int) -> Arrays:
    weight, target = x[:, :40].copy(), np.arange(300) % len(x)
    loss, gradients = ss.linear_cross_entropy_with_grad(x[:300, 40:80], weight, target)
    return loss, *gradients[:2]


# Large enough for seven threads to have blocks of their own: rows along the classes, rows in
# lanes, the classes not last.
@pytest.mark.parametrize(
    ("shape", "axis"), [((1201, 1003), 1), ((120_011, 10), 1), ((10, 120_011), 0)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("call", [softmax_family, cross_entropies, other_losses, three_steps])
def test_bits_do_not_depend_on_the_number_of_threads(
    call: Callable[[np.ndarray, int], Arrays], dtype: str, shape: tuple[int, int], axis: int
) -> None:
    x = logits_of(shape, dtype)
    with ss.threads(1):
        expected = call(x, axis)
    for n in (2, 3, 7):
        with ss.threads(n):
            for got, want in zip(call(x, axis), expected, strict=True):
                assert np.asarray(got).tobytes() == np.asarray(want).tobytes(), f"{n} threads"


@linux
@pool
def test_as_many_threads_run_as_were_asked_for() -> None:
    x = logits_of((1201, 1003), "float32")
    with ss.threads(7):
        ss.softmax(x)
    assert worker_threads() == 6  # and the caller


@pytest.mark.parametrize("rows", [30, 700])  # no region of blocks, and one of them has it
@pytest.mark.parametrize("call", [softmax_family, cross_entropies, other_losses, three_steps])
def test_callers_at_the_same_time_get_their_own_results(
    call: Callable[[np.ndarray, int], Arrays], rows: int, fast_switches: None
) -> None:
    inputs = [logits_of((rows + 5 * i, 1000), "float32") for i in range(CALLERS)]
    with ss.threads(1):
        expected = [call(x, 1) for x in inputs]

    def wrong(i: int) -> list[str]:
        return [
            f"call {n}, result {k}"
            for n in range(5)
            for k, (got, want) in enumerate(zip(call(inputs[i], 1), expected[i], strict=True))
            if np.asarray(got).tobytes() != np.asarray(want).tobytes()
        ]

    with ss.threads(2):
        assert every_one(wrong) == [[]] * CALLERS


@pytest.mark.parametrize("call", [softmax_family, cross_entropies, three_steps, head])
@pytest.mark.parametrize("axis", [0, 1])
def test_the_limit_may_change_during_a_call(
    call: Callable[[np.ndarray, int], Arrays], axis: int, fast_switches: None
) -> None:
    """Memory for each thread is taken before the threads are."""
    x, done = logits_of((2000, 500), "float32")[:, ::2], threading.Event()
    with ss.threads(1):
        expected = call(x, axis)

    def change() -> None:
        for n in itertools.cycle(range(1, 9)):
            ss.set_num_threads(n)
            if done.wait(1e-5):
                return

    with ThreadPoolExecutor(1) as other, ss.threads(1):
        changing = other.submit(change)
        try:
            for _ in range(10):
                for got, want in zip(call(x, axis), expected, strict=True):
                    np.testing.assert_array_equal(got, want)
        finally:
            done.set()
        changing.result()


@contextmanager
def flush_to_zero() -> Iterator[Callable[[], int]]:
    """Set FTZ and DAZ as torch.set_flush_denormal does; yields a reader of the control bits."""
    libm = ctypes.CDLL("libm.so.6")
    environment = (ctypes.c_uint32 * 8)()  # glibc's fenv_t on x86-64; the last word is MXCSR

    def control() -> int:
        libm.fegetenv(environment)
        return environment[7] & ~0x3F  # without the exception flags

    before = control()
    environment[7] = before | 0x8040
    libm.fesetenv(environment)
    try:
        yield control
    finally:
        control()
        environment[7] = before
        libm.fesetenv(environment)


@linux
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="sets MXCSR")
@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("size", [10, 700_000])
def test_results_do_not_depend_on_the_callers_flush_to_zero(n: int, size: int) -> None:
    tiny = np.full((size, 2), 1e-40, np.float32)
    y = np.full((size, 2), [1.0, 0.0], np.float32)
    param = tiny.copy()
    sgd = ss.SGD([param], 0.5)
    with ss.threads(n):
        expected = ss.log_softmax_backward(tiny, y - 1).tobytes()
        with flush_to_zero() as control:
            assert tiny[0, 0] * np.float32(1) == 0  # it is set
            before = control()
            got = ss.log_softmax_backward(tiny, y - 1).tobytes()
            sgd.step([np.zeros_like(tiny)])
            after = control()
    assert before & 0x8040 == 0x8040 and after == before
    assert got == expected
    assert np.array_equal(param, tiny)
