"""Python threads that call at the same time."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

CALLERS = 4


def every_one(work: Callable[[int], Any]) -> list[Any]:
    """Results of as many threads that start together."""
    start = threading.Barrier(CALLERS)

    def run(i: int) -> Any:
        start.wait(60)
        return work(i)

    with ThreadPoolExecutor(CALLERS) as pool:
        return list(pool.map(run, range(CALLERS)))
