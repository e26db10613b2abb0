"""Methods of an optimizer that no two threads may be in at once."""

from collections.abc import Callable
from functools import wraps
from threading import Lock
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def enter(lock: Lock, method: str) -> None:
    """Take the lock of an optimizer, or say that somebody has it."""
    if not lock.acquire(False):
        raise RuntimeError(
            f"{method}: another thread is in a step of this optimizer; take turns, for example "
            "with a lock"
        )


def alone(method: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
    """Let one thread at a time into the methods so decorated of an object with a `lock`."""

    @wraps(method)
    def guarded(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        lock: Lock = self.lock
        enter(lock, method.__name__)
        try:
            return method(self, *args, **kwargs)
        finally:
            lock.release()

    return guarded
