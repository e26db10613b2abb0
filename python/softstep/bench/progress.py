"""How far the benchmark is: a bar on a terminal, a line for each case elsewhere."""

from __future__ import annotations

import importlib
import sys
from typing import Any


class Progress:
    """What a run reports to: lines on stderr."""

    def __init__(self, cases: int, title: str) -> None:
        self.cases = cases
        self.title = title

    def case(self, number: int, name: str) -> None:
        """Case ``number`` (from 0) begins."""
        print(f"{self.title} {number + 1}/{self.cases} {name}", file=sys.stderr, flush=True)

    def stage(self, stage: str, part: float) -> None:
        """``part`` of the present case is done."""

    def clear(self) -> None:
        """Something else is about to be printed."""

    def close(self) -> None:
        """Nothing more will come."""


class Bar(Progress):
    """A tqdm bar, over cases."""

    def __init__(self, tqdm: Any, cases: int, title: str) -> None:
        super().__init__(cases, title)
        self._number = 0
        self._name = ""
        self._bar = tqdm(
            total=cases,
            desc=title,
            leave=False,
            dynamic_ncols=True,
            bar_format="{desc} |{bar:20}| {percentage:3.0f}% {elapsed}{postfix}",
        )

    def case(self, number: int, name: str) -> None:
        """Name the case beside the bar."""
        self._number, self._name = number, name
        self.stage("", 0.0)

    def stage(self, stage: str, part: float) -> None:
        """Move the bar within the case."""
        self._bar.n = self._number + part
        self._bar.set_postfix_str(f"{self._name}: {stage}" if stage else self._name)

    def clear(self) -> None:
        """Take the bar away until it moves again."""
        self._bar.clear()

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()


def open_progress(cases: int, title: str) -> Progress:
    """Choose how to show ``cases`` cases."""
    if sys.stderr.isatty():
        try:
            return Bar(importlib.import_module("tqdm").tqdm, cases, title)
        except ImportError:
            pass
    return Progress(cases, title)
