"""Ctrl-C, where the work must not break off at just any place."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Let what has begun be finished, whoever presses Ctrl-C again."""
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def interrupts_fatal() -> Iterator[None]:
    """Let Ctrl-C end the process at once, where Python would not come to it."""
    previous = signal.getsignal(signal.SIGINT)
    if previous is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


class Interrupt:
    """``requested``: Ctrl-C was pressed."""

    def __init__(self, once: bool) -> None:
        self.requested = False
        self._once = once

    def note(self, signal_number: int, frame: FrameType | None) -> None:
        """Note Ctrl-C; or only the first one, and let the second one have its usual effect."""
        if self.requested and self._once:
            signal.default_int_handler(signal_number, frame)
        self.requested = True


@contextmanager
def interrupt_noted(*, once: bool) -> Iterator[Interrupt]:
    """Yield what tells that Ctrl-C was pressed, so that the work ends between two steps."""
    interrupt = Interrupt(once)
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield interrupt  # ignored, as in the background of a shell without job control
        return
    signal.signal(signal.SIGINT, interrupt.note)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
