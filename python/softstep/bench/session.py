"""A whole run: the machine, every case, softstep alone; the JSON document of it all."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from softstep.bench import machine
from softstep.bench.cases import Case
from softstep.bench.contender import OWN
from softstep.bench.measure import Settings
from softstep.bench.peers import load_peers
from softstep.bench.processes import peerless_times
from softstep.bench.progress import open_progress
from softstep.bench.record import TIMED, run_case

FORMAT = 1


class Session:
    """Collects ``document`` case by case, so that an interrupted run keeps what is finished."""

    def __init__(self, cases: Sequence[Case], peers: Sequence[str], settings: Settings) -> None:
        self.cases = cases
        self.settings = settings
        # Before the peers are imported: they set variables of their own and load the machine.
        before = {"variables": machine.variables(), "load_average": machine.load_average()}
        self._peers, absent = load_peers(peers)
        self.document: dict[str, Any] = {
            "format": FORMAT,
            "environment": machine.describe(self._peers) | before,
            "settings": {**asdict(settings), "peers": list(peers)},
            "absent": absent,
            "cases": [],
        }
        self._alone: dict[tuple[str, str], dict[str, float]] = {}
        self._start, self._stolen = time.monotonic(), machine.stolen_seconds()

    def run_alone(self, words: Sequence[str]) -> None:
        """Measure softstep in a process without peers, called with ``words``."""
        alone = peerless_times([case.name for case in self.cases], words)
        self.document["alone"] = "failed" if alone is None else "measured"
        self._alone = alone or {}

    def run(self, on_case: Callable[[dict[str, Any]], None]) -> None:
        """Measure every case; ``on_case`` gets the result of each."""
        title = "bench" if self._peers else "bench, softstep alone"
        progress = open_progress(len(self.cases), title)
        try:
            for number, case in enumerate(self.cases):
                progress.case(number, case.name)
                with warnings.catch_warnings():
                    # What the peers warn of is their users' business.
                    warnings.simplefilter("ignore")
                    result = run_case(case, self._peers, self.settings, progress.stage)
                for entry in result["contenders"]:
                    if entry["peer"] == OWN:
                        entry |= self._alone.get((case.name, entry["detail"]), {})
                self.document["cases"].append(result)
                progress.clear()
                on_case(result)
        finally:
            progress.close()
            self.document["seconds"] = round(time.monotonic() - self._start, 1)
            stolen = machine.stolen_seconds() - self._stolen
            self.document["stolen_seconds"] = round(stolen, 2)

    def own_mistakes(self) -> list[str]:
        """Return what softstep itself got wrong."""
        return [
            f"{case['name']}, {entry['detail']}: {entry['reason']}"
            for case in self.document["cases"]
            for entry in case["contenders"]
            if entry["peer"] == OWN and entry["status"] != TIMED
        ]
