"""Methods of an optimizer that no two threads may be in at once."""

from collections.abc import Callable
from functools import wraps
from threading import Lock
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def alone(method: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
    """Let one thread at a time into the methods so decorated of an object with a `lock`."""

    @wraps(method)
    def guarded(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        lock: Lock = self.lock
        if not lock.acquire(blocking=False):
            raise RuntimeError(
                f"{method.__name__}: another thread is in a step of this optimizer; take turns, "
                "for example with a lock"
            )
        try:
            return method(self, *args, **kwargs)
        finally:
            lock.release()

    return guarded
