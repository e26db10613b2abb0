"""From a case to its results: build, verify, time."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from softstep.bench.cases import Case
from softstep.bench.contender import (
    OWN,
    PEERS,
    ROOFLINE,
    Call,
    Contender,
    Problem,
    load_family,
)
from softstep.bench.measure import Samples, Settings, measure
from softstep.bench.peers import first_line
from softstep.bench.verify import error_of
from softstep.training.memory import with_peak

TIMED, WRONG, FAILED = "timed", "wrong", "failed"


@dataclass
class Entry:
    """One contender of a case; ``samples`` only if its result was right."""

    contender: Contender
    status: str
    error: float | None = None
    reason: str = ""
    samples: Samples | None = None
    # Of the first call, above what was resident before it.
    peak_bytes: int | None = None

    def as_json(self, elements: int) -> dict[str, Any]:
        """Return everything that was seen."""
        contender = self.contender
        result: dict[str, Any] = {
            "peer": contender.peer,
            "library": PEERS[contender.peer].label,
            "mode": contender.mode,
            "detail": contender.detail,
            "status": self.status,
            # JSON has no infinity.
            "error": self.error if self.error is not None and isfinite(self.error) else None,
            "reason": self.reason,
        }
        if self.peak_bytes is not None:
            result["peak_bytes"] = self.peak_bytes
        if contender.moved_bytes:
            result["moved_bytes"] = contender.moved_bytes
        if self.samples:
            samples = self.samples
            result |= {
                "median_ms": 1e3 * samples.median,
                "best_ms": 1e3 * samples.best,
                "cold_ms": 1e3 * statistics.median(samples.cold) if samples.cold else None,
                "spread": samples.spread,
                "ns_per_element": 1e9 * samples.median / elements,
                "page_faults_per_call": sorted(samples.faults)[len(samples.faults) // 2],
                "involuntary_switches": samples.involuntary_switches,
                "unsettled_samples": samples.unsettled,
                "calls_per_sample": samples.calls,
                "samples_ms": [1e3 * seconds for seconds in samples.seconds],
                "cold_samples_ms": [1e3 * seconds for seconds in samples.cold],
            }
        return result


def contenders_of(case: Case, problem: Problem, peers: Mapping[str, Any]) -> Iterator[Contender]:
    """Yield the roofline's, softstep's and the peers' contenders, in this order."""
    families = load_family(case).CONTENDERS
    for name, module in {ROOFLINE: None, OWN: None, **peers}.items():
        if name in families:
            yield from families[name](problem, module)


def run_case(
    case: Case,
    peers: Mapping[str, Any],
    settings: Settings,
    on_progress: Callable[[str, float], None] = lambda stage, part: None,
) -> dict[str, Any]:
    """Verify and time every contender of ``case``; return its JSON."""
    on_progress("building the problem", 0.0)
    problem: Problem = load_family(case).build(**case.options)
    contenders = list(contenders_of(case, problem, peers))
    entries = run_contenders(problem, contenders, settings, on_progress)
    return {
        "name": case.name,
        "family": case.family,
        "title": case.title,
        "elements": problem.elements,
        "tolerance": problem.tolerance,
        "contenders": [entry.as_json(problem.elements) for entry in entries],
    }


def run_contenders(
    problem: Problem,
    contenders: list[Contender],
    settings: Settings,
    on_progress: Callable[[str, float], None] = lambda stage, part: None,
) -> list[Entry]:
    """Verify ``contenders``, then time in turns those whose results are right."""
    entries, right = [], []
    for contender in contenders:
        on_progress(f"verifying {contender.label}", 0.0)
        entry, call = _verify(problem, contender)
        entries.append(entry)
        if call:
            right.append((entry, call))
    on_progress("timing", 0.0)
    calls = [call for _, call in right]
    samples = measure(problem, calls, settings, lambda part: on_progress("timing", part))
    for (entry, _), taken in zip(right, samples, strict=True):
        entry.samples = taken
    # The arrays of the next case may need the memory of this one's.
    del right, calls
    gc.collect()
    return entries


def _verify(problem: Problem, contender: Contender) -> tuple[Entry, Call | None]:
    try:
        call = contender.build()
        problem.restore()
        call.prepare()
        returned, peak = with_peak(call.run) if call.measures_memory else (call.run(), None)
        for _ in range(1, call.verified_calls or problem.verified_calls):
            returned = call.run()
        expected = problem.expected if call.expected is None else call.expected
        error = error_of(call.result(returned), expected)
    except Exception as failure:  # a peer may raise anything; the others are still timed
        return Entry(contender, FAILED, reason=first_line(failure)), None
    tolerance = call.tolerance or problem.tolerance
    if error <= tolerance:
        return Entry(contender, TIMED, error, peak_bytes=peak), call
    reason = f"error {error:.1e}, expected at most {tolerance:.0e}"
    return Entry(contender, WRONG, error, reason), None
