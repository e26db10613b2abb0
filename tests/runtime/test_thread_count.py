"""Who decides the number of threads: calls, the environment, the affinity, threadpoolctl."""

import json
import subprocess
import sys

import pytest

import softstep as ss
from tests.support.paths import importing_tests

linux = pytest.mark.skipif(sys.platform != "linux", reason="sets the affinity")
pool = pytest.mark.skipif(
    ss.show_config().parallel_backend != "pool", reason="other backends have limits of their own"
)


@pool
def test_the_number_of_threads_is_set_and_restored() -> None:
    automatic = ss.get_num_threads()
    try:
        ss.set_num_threads(3)
        assert ss.get_num_threads() == 3
        assert ss.show_config().threads_source == "set_num_threads"
        with ss.threads(2):
            assert ss.get_num_threads() == 2
            with ss.threads(None):
                assert ss.get_num_threads() == automatic
            assert ss.get_num_threads() == 2
        with pytest.raises(RuntimeError, match="inside"), ss.threads(5):
            raise RuntimeError("inside")
        assert ss.get_num_threads() == 3
    finally:
        ss.set_num_threads(None)
    assert ss.get_num_threads() == automatic
    assert ss.show_config().threads_source != "set_num_threads"


@pytest.mark.parametrize("n", [0, -1, 257])
def test_an_impossible_number_is_refused(n: int) -> None:
    before = ss.get_num_threads()
    with pytest.raises(ValueError, match=f"n: expected .* got {n}"):
        ss.set_num_threads(n)
    with pytest.raises(ValueError, match="n: expected"), ss.threads(n):
        pass
    assert ss.get_num_threads() == before


@pytest.mark.parametrize("n", [1.5, "2"])
def test_a_number_of_another_type_is_refused(n: object) -> None:
    with pytest.raises(TypeError):
        ss.set_num_threads(n)  # type: ignore[arg-type]


LARGE_CALL = """
import json, sys
import numpy, softstep as ss
ss.softmax(numpy.zeros((1201, 1003), "f"))
"""
REPORT = """
from tests.support.worker_threads import worker_threads
workers = worker_threads() if sys.platform == "linux" else 0
print(json.dumps([ss.get_num_threads(), ss.show_config().threads_source, workers]))
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own that inherits no setting of threads."""
    names = ("OMP_NUM_THREADS", "SOFTSTEP_NUM_THREADS")
    inherited = {name: value for name, value in importing_tests().items() if name not in names}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def report(before: str = "", **environment: str) -> tuple[int, str, int]:
    """Run code and a large call; return the number of threads, its source, the threads started."""
    done = run(before + LARGE_CALL + REPORT, **environment)
    assert done.returncode == 0, done.stderr
    threads, source, workers = json.loads(done.stdout)
    return threads, source, workers


@pytest.mark.parametrize(
    ("environment", "source"),
    [
        ({"OMP_NUM_THREADS": "1"}, "OMP_NUM_THREADS"),
        ({"OMP_NUM_THREADS": "1,4"}, "OMP_NUM_THREADS"),
        ({"SOFTSTEP_NUM_THREADS": "1"}, "SOFTSTEP_NUM_THREADS"),
        ({"SOFTSTEP_NUM_THREADS": "1", "OMP_NUM_THREADS": "2"}, "SOFTSTEP_NUM_THREADS"),
    ],
)
def test_the_environment_limits_the_threads(environment: dict[str, str], source: str) -> None:
    assert report(**environment) == (1, source, 0)


@pytest.mark.parametrize("value", ["", "many", "0", "-3"])
def test_nonsense_in_omp_num_threads_is_ignored(value: str) -> None:
    assert report(OMP_NUM_THREADS=value) == report()


@pytest.mark.parametrize("value", ["many", "0", "-3", "2.5", "2 4"])
def test_nonsense_in_softstep_num_threads_is_an_import_error(value: str) -> None:
    done = run("import softstep", SOFTSTEP_NUM_THREADS=value)
    assert done.returncode != 0
    message = f'SOFTSTEP_NUM_THREADS: expected a whole number >= 1, got "{value}"'
    assert done.stderr.strip().endswith(f"ImportError: {message}")


@linux
def test_the_affinity_limits_the_threads() -> None:
    pin = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    alone = (1, "affinity", 0)
    assert report(pin) == alone
    assert report(pin, SOFTSTEP_NUM_THREADS="8") == alone
    assert report(LARGE_CALL + pin)[:2] == (1, "affinity")  # also once threads run


@linux
@pool
def test_threads_that_run_follow_the_affinity_of_their_caller() -> None:
    code = """
import os
from pathlib import Path
import softstep as ss
ss.set_num_threads(2)
{call}
cpu = min(os.sched_getaffinity(0))
os.sched_setaffinity(0, {{cpu}})
{call}
tasks = [int(task.name) for task in Path("/proc/self/task").iterdir()
         if (task / "comm").read_text().startswith("softstep-")]
assert [os.sched_getaffinity(task) for task in tasks] == [{{cpu}}], tasks
"""
    done = run(code.format(call=LARGE_CALL))
    assert done.returncode == 0, done.stderr


@pool
@pytest.mark.parametrize(
    "order", ["threadpoolctl, softstep as ss", "softstep as ss, threadpoolctl"]
)
def test_threadpoolctl_limits_the_threads(order: str) -> None:
    pytest.importorskip("threadpoolctl")
    code = f"""
import {order}
with threadpoolctl.threadpool_limits(1):
    assert ss.get_num_threads() == 1
    with threadpoolctl.threadpool_limits({{"softstep": 3}}):
        assert ss.get_num_threads() == 3
    assert ss.get_num_threads() == 1
with threadpoolctl.threadpool_limits(1, user_api="blas"):
    assert ss.show_config().threads_source != "set_num_threads"
found = [info for info in threadpoolctl.threadpool_info() if info["internal_api"] == "softstep"]
assert [info["num_threads"] for info in found] == [ss.get_num_threads()], found
"""
    assert report(code) == report()  # automatic again afterwards


def test_a_daemon_thread_inside_a_call_does_not_disturb_the_exit() -> None:
    code = """
import threading, time
import numpy as np, softstep as ss
x = np.ones((1201, 1003), "f")
def call():
    while True:
        ss.softmax(x)
threading.Thread(target=call, daemon=True).start()
time.sleep(0.2)
"""
    done = run(code)
    assert (done.returncode, done.stderr) == (0, "")
