"""Ctrl-C and its kind, where the work must not break off at just any place."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

# Ctrl-C; what `kill`, a batch system or a shutdown sends; what a closed terminal leaves behind.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """A signal ended the work; the command's ``status`` is 128 plus its number, as in a shell."""

    def __init__(self, number: int, *args: object) -> None:
        super().__init__(*args)
        self.number = number
        self.status = 128 + number


def _raise(number: int, frame: FrameType | None) -> NoReturn:
    raise Interrupted(number)


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], Any] | signal.Handlers) -> Iterator[None]:
    """Let ``handler`` have the signals that are not ignored, as by nohup, nor others' in C."""
    # Elsewhere Python lets nobody handle signals.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.getsignal(number) for number in ENDING}
    taken = {n: each for n, each in former.items() if each not in (signal.SIG_IGN, None)}
    for number in taken:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, each in taken.items():
            signal.signal(number, each)


@contextmanager
def interrupts_raised() -> Iterator[None]:
    """Raise `Interrupted` wherever a signal comes, so that what was begun is cleaned up."""
    with _handled(_raise):
        yield


@contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Let what has begun be finished, whoever presses Ctrl-C again."""
    with _handled(signal.SIG_IGN):
        yield


@contextmanager
def interrupts_fatal() -> Iterator[None]:
    """Let a signal end the process at once, where Python would not come to it."""
    with _handled(signal.SIG_DFL):
        yield


class Interrupt:
    """``requested``: a signal came, and its ``number``."""

    def __init__(self, once: bool) -> None:
        self.requested = False
        self.number: int = signal.SIGINT
        self._once = once

    def note(self, number: int, frame: FrameType | None) -> None:
        """Note the signal; or only the first one, and let the second one end the work here."""
        if self.requested and self._once:
            _raise(number, frame)
        self.requested, self.number = True, number


@contextmanager
def interrupt_noted(*, once: bool) -> Iterator[Interrupt]:
    """Yield what tells that a signal came, so that the work ends between two steps."""
    interrupt = Interrupt(once)
    with _handled(interrupt.note):
        yield interrupt
