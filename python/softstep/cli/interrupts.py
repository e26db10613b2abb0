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


class Interrupt:
    """``requested``: Ctrl-C was pressed."""

    def __init__(self) -> None:
        self.requested = False

    def note(self, signal_number: int, frame: FrameType | None) -> None:
        """Note the first Ctrl-C; let the second one have its usual effect."""
        if self.requested:
            signal.default_int_handler(signal_number, frame)
        self.requested = True


@contextmanager
def interrupt_noted() -> Iterator[Interrupt]:
    """Yield what tells that Ctrl-C was pressed, so that the work ends between two steps."""
    interrupt = Interrupt()
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield interrupt  # ignored, as in the background of a shell without job control
        return
    signal.signal(signal.SIGINT, interrupt.note)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
