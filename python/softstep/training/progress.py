"""How far the training is: a bar on a terminal, a line per part elsewhere."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# Seconds before reading is worth a word, and between two of them on a terminal or elsewhere.
PATIENCE = 1.0
PAUSE = {True: 0.2, False: 5.0}


class Progress:
    """What the training reports to; shows nothing."""

    def rows(self, count: int) -> None:
        """``count`` more rows have been trained on."""

    def part(self, number: int, state: str, rows_per_second: float) -> None:
        """Part ``number`` (from 1) is finished, with the training in ``state``."""

    def note(self, text: str) -> None:
        """Print a line that is no progress, on stderr."""
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing more will come."""


class Lines(Progress):
    """A line on stderr per part."""

    def __init__(self, name: str, parts: int) -> None:
        self._name = name
        self._parts = parts

    def part(self, number: int, state: str, rows_per_second: float) -> None:
        """Print a line."""
        place = f"{self._name} {number:>{len(str(self._parts))}}/{self._parts}"
        print(f"{place}  {state}  {rows_per_second:.0f} rows/s", file=sys.stderr, flush=True)


class Bar(Progress):
    """A tqdm bar over all rows of all parts, which also moves within a long part."""

    def __init__(self, tqdm: Any, name: str, parts: int, rows: int, done: int) -> None:
        self._name = name
        self._parts = parts
        self._bar = tqdm(
            total=rows,
            initial=done,
            desc=f"{name} {done * parts // rows + 1}/{parts}",
            unit=" rows",
            unit_scale=True,
            dynamic_ncols=True,
            # Leaves the bar a few of 80 columns.
            bar_format="{desc} |{bar}| {rate_fmt}{postfix}",
        )

    def rows(self, count: int) -> None:
        """Move the bar."""
        self._bar.update(count)

    def part(self, number: int, state: str, rows_per_second: float) -> None:
        """Show the state beside the bar."""
        coming = min(number + 1, self._parts)
        self._bar.set_description_str(f"{self._name} {coming}/{self._parts}", refresh=False)
        self._bar.set_postfix_str(state, refresh=False)

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self._bar.write(text, file=sys.stderr)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()


def open_progress(name: str, parts: int, rows: int, quiet: bool, done: int = 0) -> Progress:
    """Choose how to show a training on ``rows`` rows in ``parts`` parts, each called ``name``.

    ``done`` of the rows were trained on earlier.
    """
    if quiet:
        return Progress()
    # Some terminals (docker run -t) have no width, in which no bar fits.
    if sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).columns:
        try:
            tqdm = importlib.import_module("tqdm").tqdm
        except ImportError:
            pass
        else:
            return Bar(tqdm, name, parts, rows, done)
    return Lines(name, parts)


@contextmanager
def open_bytes(name: str, size: int | None, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Yield what is told how many of ``size`` bytes are done; shows it where it takes a while."""
    terminal = sys.stderr.isatty()
    last = [time.monotonic() + PATIENCE - PAUSE[terminal]]
    shown: list[int] = []

    def progress(done: int) -> None:
        if quiet or time.monotonic() - last[0] < PAUSE[terminal]:
            return
        last[0] = time.monotonic()
        part = f"{name}: {done / 1e6:.0f} MB" if size is None else f"{name}: {done / size:.0%}"
        ends = {"end": ""} if terminal else {}
        print(f"\r{part} " if terminal else part, file=sys.stderr, flush=True, **ends)
        shown.append(done)

    try:
        yield progress
    finally:
        if shown and terminal:
            print(file=sys.stderr)
