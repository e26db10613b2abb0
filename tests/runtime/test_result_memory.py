"""Large fresh results: memory of their own, taken again only after they are gone."""

import gc
import multiprocessing
import sys
import threading
import tracemalloc
from typing import Any

import numpy as np
import pytest

import softstep as ss

SHAPE = (1100, 1000)  # 4.4 MB in float32: above the limit of 4 MiB
linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is kept on Linux only")


def logits(seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)


def address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


@linux
def test_memory_of_a_dropped_result_is_used_again() -> None:
    ss.release_workspace()
    x = logits()
    first = ss.softmax(x)
    where = address(first)
    assert first.flags.writeable and first.flags.c_contiguous and where % 64 == 0
    view = first[5:]
    del first
    second = ss.softmax(x)  # the view still holds the first
    assert address(second) != where
    expected = second[5:].copy()
    np.testing.assert_array_equal(view, expected)
    del view
    third = ss.softmax(x)
    assert address(third) == where
    np.testing.assert_array_equal(third, second)


@linux
def test_other_sizes_and_release() -> None:
    ss.release_workspace()
    x = logits()
    where = address(ss.softmax(x))
    assert address(ss.softmax(x[:-1])) != where
    small = ss.softmax(x[:10])
    assert small.base is None
    again = ss.softmax(x)
    assert address(again) == where
    del again
    ss.release_workspace()
    ss.release_workspace()
    np.testing.assert_allclose(ss.softmax(x).sum(axis=1), 1, rtol=1e-5)


def test_live_results_never_share() -> None:
    xs = [logits(seed) for seed in range(4)]
    expected = [ss.softmax(x[:500]) for x in xs]
    for _ in range(3):
        results = [ss.softmax(x) for x in xs]
        for result, half in zip(results, expected, strict=True):
            np.testing.assert_array_equal(result[:500], half)


def test_threads() -> None:
    xs = [logits(seed) for seed in range(3)]
    expected = [ss.softmax(x).copy() for x in xs]
    wrong: list[int] = []

    def work(index: int) -> None:
        for _ in range(20):
            if not np.array_equal(ss.softmax(xs[index]), expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(xs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def child(x: Any, expected: Any) -> None:
    for _ in range(3):
        np.testing.assert_array_equal(ss.softmax(x), expected)


@linux
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork() -> None:
    x = logits()
    expected = ss.softmax(x).copy()  # its memory is kept when the child starts
    process = multiprocessing.get_context("fork").Process(target=child, args=(x, expected))
    process.start()
    child(x, expected)
    process.join(60)
    assert process.exitcode == 0


@linux
def test_tracemalloc_sees_what_is_in_use() -> None:
    x = logits()
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        result = ss.softmax(x)
        assert tracemalloc.get_traced_memory()[0] - before >= result.nbytes
        del result
        assert tracemalloc.get_traced_memory()[0] - before < x.nbytes
    finally:
        tracemalloc.stop()
