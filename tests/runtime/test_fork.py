"""After os.fork a child computes correctly and never hangs.

Each scenario is a process of its own, because what matters is whether threads have run before.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest

import softstep as ss
from tests.support.paths import importing_tests

X = np.random.default_rng(8).standard_normal((1201, 1003), dtype=np.float32)


def softmax_is_right(repeats: int = 3) -> bool:
    e = np.exp(X - X.max(axis=1, keepdims=True))
    expected = e / e.sum(axis=1, keepdims=True)
    return all(np.allclose(ss.softmax(X), expected, rtol=1e-5, atol=0) for _ in range(repeats))


def fork_and_compute() -> None:
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # ends a child that hangs
        os._exit(0 if softmax_is_right() else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, "-14: the child hung; 1: it was wrong"


def first_call_in_the_child() -> None:
    fork_and_compute()
    assert softmax_is_right()


def after_a_call_in_the_parent() -> None:
    assert softmax_is_right()
    fork_and_compute()
    assert softmax_is_right()  # the parent's threads are still there
    fork_and_compute()


def while_another_thread_is_inside_a_call() -> None:
    stop = threading.Event()

    def call() -> None:
        while not stop.is_set():
            ss.softmax(X)

    caller = threading.Thread(target=call)
    caller.start()
    for _ in range(20):
        fork_and_compute()
    stop.set()
    caller.join()
    assert softmax_is_right()


def child_of_a_child() -> None:
    assert softmax_is_right()
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        fork_and_compute()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def multiprocessing_pool(method: str) -> None:
    assert softmax_is_right()
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map_async(softmax_is_right, [2] * 4).get(timeout=60) == [True] * 4
    assert softmax_is_right()


def multiprocessing_fork() -> None:
    multiprocessing_pool("fork")


def multiprocessing_spawn() -> None:
    multiprocessing_pool("spawn")


SCENARIOS: list[Callable[[], None]] = [
    first_call_in_the_child,
    after_a_call_in_the_parent,
    while_another_thread_is_inside_a_call,
    child_of_a_child,
    multiprocessing_fork,
    multiprocessing_spawn,
]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("scenario", [function.__name__ for function in SCENARIOS])
@pytest.mark.parametrize("threads", [2, 7])
def test_fork(scenario: str, threads: int) -> None:
    done = subprocess.run(
        [sys.executable, __file__, scenario, str(threads)],
        env=importing_tests(),
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    ss.set_num_threads(int(sys.argv[2]))
    globals()[sys.argv[1]]()
