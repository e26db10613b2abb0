"""Interleaved timing: samples of all contenders of a case, in turns, in one process.

Warm: calls of one contender one after the other. Cold: one call, after everybody else's, with
threads parked and caches full of other things, as in a training loop.
"""

from __future__ import annotations

import gc
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import repeat

import numpy as np

from softstep.bench.contender import Call, Problem

# Idle threads of a library that is done may spin for a while (OpenBLAS's: 0.1 s; libgomp's: some
# milliseconds) and would steal a core from the next contender.
SPINNING = 0.1
SETTLE_STEP_S, SETTLE_LIMIT_S = 0.002, 0.5
OTHER_BYTES = 1 << 20  # read before a cold call: what the rest of a small network's step may touch
COLD_SHARE = 0.25  # of the time for warm samples


@dataclass(frozen=True)
class Settings:
    """How much is measured."""

    repeats: int = 30
    # Shorter samples measure the clock and the wake-up of parked threads.
    sample_s: float = 0.005
    # Rounds stop after this; the number of samples that were taken is reported.
    case_s: float = 30.0


@dataclass
class Samples:
    """The samples of one contender: seconds and page faults per call."""

    # Runs in the next sample; it follows the contender's speed.
    count: int
    # Several calls are needed for a sample, unless the machine is very busy.
    short: bool
    calls: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    faults: list[float] = field(default_factory=list)
    cold: list[float] = field(default_factory=list)
    involuntary_switches: int = 0
    # Samples that began while another thread of this process was still busy.
    unsettled: int = 0

    @property
    def median(self) -> float:
        """Seconds of a call: what users see."""
        return statistics.median(self.seconds)

    @property
    def best(self) -> float:
        """Seconds of the fastest sample: what the code can do."""
        return min(self.seconds)

    @property
    def spread(self) -> float:
        """Interquartile range over the median."""
        if len(self.seconds) < 2:
            return 0.0
        lower, _, upper = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return (upper - lower) / self.median


def settle() -> bool:
    """Wait until no other thread of this process is busy; False if one still is."""
    end = time.perf_counter() + SETTLE_LIMIT_S
    while True:
        wall, cpu = time.perf_counter(), time.process_time()
        time.sleep(SETTLE_STEP_S)
        now = time.perf_counter()
        if time.process_time() - cpu < SPINNING * (now - wall):
            return True
        if now > end:
            return False


def seconds_of_a_call(call: Call, sample_s: float) -> float:
    """Return the time of the fastest of a few calls, the first of which are slow."""
    call.prepare()
    times: list[float] = []
    while len(times) < 3 or (sum(times) < 5 * sample_s and len(times) < 1000):
        times.append(_timed(call, 1))
    return min(times)


def order_of_round(count: int, number: int) -> list[int]:
    """Return the order of ``count`` contenders in round ``number``.

    Every second round is the one before it backwards (ABBA), so that a drift of the machine hits
    all alike; each pair of rounds starts with another contender, so that nobody always runs after
    the same one.
    """
    shift = number // 2 % count
    order = [*range(shift, count), *range(shift)]
    return order[::-1] if number % 2 else order


def measure(
    problem: Problem,
    calls: Sequence[Call],
    settings: Settings,
    on_progress: Callable[[float], None] = lambda part: None,
) -> list[Samples]:
    """Time ``calls`` in turns; ``on_progress`` hears which part of the case is done."""
    with _no_collector():
        samples = []
        for call in calls:
            settle()
            problem.restore()
            seconds = seconds_of_a_call(call, settings.sample_s)
            # A loop of short calls is faster than single ones, hence somewhat more.
            short = seconds < settings.sample_s
            samples.append(Samples(1 + int(1.2 * settings.sample_s / seconds), short))
        start = time.perf_counter()
        for number in range(settings.repeats if calls else 0):
            for index in order_of_round(len(calls), number):
                _sample(problem, calls[index], samples[index], settings.sample_s)
            used = (time.perf_counter() - start) / settings.case_s
            on_progress(min(1.0, max(used, (number + 1) / settings.repeats)))
            # Two rounds are the least that is balanced.
            if used >= 1 and number % 2 and number + 1 < settings.repeats:
                break
        _measure_cold(problem, calls, samples, settings)
    return samples


def _measure_cold(
    problem: Problem, calls: Sequence[Call], samples: Sequence[Samples], settings: Settings
) -> None:
    # Who repeats its calls without Python has none alone.
    single = [(call, taken) for call, taken in zip(calls, samples, strict=True) if call.calls == 1]
    other = np.ones(OTHER_BYTES, np.uint8)
    end = time.perf_counter() + COLD_SHARE * settings.case_s
    for number in range(settings.repeats if single else 0):
        for index in order_of_round(len(single), number):
            call, taken = single[index]
            settle()
            problem.restore()
            call.prepare()
            other.max()
            taken.cold.append(_timed(call, 1))
        if time.perf_counter() > end and number % 2:
            break


def _sample(problem: Problem, call: Call, samples: Samples, sample_s: float) -> None:
    quiet = settle()
    # For everybody, whether or not it writes them: so the caches start alike too.
    problem.restore()
    call.prepare()
    if samples.short:
        # Wakes the contender's parked threads and warms what a loop of small calls finds warm.
        call.run()
    count = samples.count
    before = resource.getrusage(resource.RUSAGE_SELF)
    seconds = _timed(call, count)
    after = resource.getrusage(resource.RUSAGE_SELF)
    calls = count * call.calls
    samples.calls.append(calls)
    samples.seconds.append(seconds / calls)
    samples.faults.append((after.ru_minflt - before.ru_minflt) / calls)
    samples.involuntary_switches += after.ru_nivcsw - before.ru_nivcsw
    samples.unsettled += not quiet
    # The machine may be idler or busier than when the number was found. The sample counts.
    if seconds < sample_s:
        samples.count = 1 + int(1.2 * count * sample_s / seconds)
    elif seconds > 10 * sample_s:
        samples.count = (count + 1) // 2


def _timed(call: Call, count: int) -> float:
    run = call.run
    start = time.perf_counter()
    for _ in repeat(None, count):
        run()
    return time.perf_counter() - start


@contextmanager
def _no_collector() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
