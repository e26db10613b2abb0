"""The worst error of the kernels' exp, log, log1p and tanh: every float32, and a search in float64.

    python -m tests.campaigns.every_float32 [--isa x86_64_v3 ...] [--functions exp ...]

Errors are in units in the last place (ULP) of the result. Fails where one is beyond the bound that
the tests grant (tests/support/bounds.py).
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

import softstep as ss
from softstep import _core
from tests.support.bounds import EXP_ULP, LOG1P_ULP, LOG_ULP, TANH_SLOPE_ULP, TANH_ULP
from tests.support.ulp import tanh_slope, ulp_error

CHUNK = 1 << 22
# Sub-levels have the mathematics of their level.
LEVELS = [isa for isa in ss.available_isas() if not isa.endswith(("_bf16", "_amx"))]
# Of the search: numbers drawn, worst ones whose neighbours are tried, neighbours to each side.
DRAWN, KEPT, NEAR = 24_000_000, 1024, 2000


class Function(NamedTuple):
    kernel: Callable[[Any], Any]
    exact: Callable[[Any], Any]
    bound: dict[Any, float]
    # Where it is used and its result is a normal number: [first, last] by magnitude, of each sign.
    domains: dict[Any, list[tuple[float, float, int]]]


def both(first: float, last: float) -> list[tuple[float, float, int]]:
    return [(first, last, 1), (first, last, -1)]


TINY = {t: float(np.finfo(t).tiny) for t in (np.float32, np.float64)}
HUGE = {t: float(np.finfo(t).max) for t in (np.float32, np.float64)}
# exp(-x) is a normal number up to there; tanh makes its slope of exp(-2 |x|).
EXP_END = {np.float32: 87.33, np.float64: 708.39}
SLOPE_END = {t: end / 2 for t, end in EXP_END.items()}
FUNCTIONS = {
    "exp": Function(
        _core.exp, np.exp, EXP_ULP, {t: [(0.0, EXP_END[t], -1)] for t in (np.float32, np.float64)}
    ),
    "log": Function(_core.log, np.log, LOG_ULP, {t: [(TINY[t], HUGE[t], 1)] for t in TINY}),
    "log1p": Function(_core.log1p, np.log1p, LOG1P_ULP, {t: [(TINY[t], 1.0, 1)] for t in TINY}),
    "tanh": Function(_core.tanh, np.tanh, TANH_ULP, {t: both(TINY[t], HUGE[t]) for t in TINY}),
    "tanh_slope": Function(
        _core.tanh_slope, tanh_slope, TANH_SLOPE_ULP, {t: both(0.0, SLOPE_END[t]) for t in TINY}
    ),
}


class Worst(NamedTuple):
    error: float
    at: float


def errors(function: Function, x: Any, wide: Any) -> Any:
    found = ulp_error(function.kernel(x), function.exact(x.astype(wide)))
    return np.where(np.isnan(found), np.inf, found)


def bits_of(first: float, last: float, sign: int) -> tuple[int, int]:
    low, high = np.array([first, last], np.float32).view(np.uint32).tolist()
    flip = 0 if sign > 0 else 1 << 31
    return low + flip, high + flip


def chunks(domains: list[tuple[float, float, int]]) -> Iterator[tuple[int, int]]:
    for domain in domains:
        low, high = bits_of(*domain)
        yield from pairwise([*range(low, high + 1, CHUNK), high + 1])


def every_float32(function: Function, name: str) -> Worst:
    def worst(part: tuple[int, int]) -> Worst:
        x = np.arange(*part, dtype=np.uint32).view(np.float32)
        found = errors(function, x, np.float64)
        k = int(found.argmax())
        return Worst(float(found[k]), float(x[k]))

    parts = list(chunks(function.domains[np.float32]))
    with ThreadPoolExecutor() as workers:
        return max(tqdm(workers.map(worst, parts), name, len(parts), leave=False))


def drawn(rng: np.random.Generator, domains: list[tuple[float, float, int]]) -> Any:
    """A third evenly, a third evenly in the exponent, a third about 1."""
    parts = []
    for first, last, sign in domains:
        count = DRAWN // (3 * len(domains))
        powers = 2.0 ** rng.uniform(np.log2(max(first, 1e-300)), np.log2(last), count)
        even = rng.uniform(first, min(last, 1e3), count)
        parts += [sign * even, sign * powers, sign * rng.uniform(0.5, min(last, 2), count)]
    return np.concatenate(parts)


def neighbours(x: Any, domains: list[tuple[float, float, int]]) -> Any:
    """Return what is next to numbers, and what has their argument after the range reduction."""
    bits = x.view(np.int64)[:, None] + np.arange(-NEAR, NEAR + 1)
    near = bits.view(np.float64).ravel()
    twos = np.arange(-40, 41)
    moved = x[:, None] + twos * np.log(2)
    every = np.concatenate([near, moved.ravel(), np.outer(x, 2.0**twos).ravel()])
    inside = [
        (sign * every >= first) & (sign * every <= last) & (np.signbit(every) == (sign < 0))
        for first, last, sign in domains
    ]
    return every[np.any(inside, axis=0)]


def search(function: Function, rounds: int = 3) -> Worst:
    """The largest error of float64 that random numbers and the neighbours of the worst have."""
    domains = function.domains[np.float64]
    x = drawn(np.random.default_rng(0), domains)
    best = Worst(0.0, 0.0)
    for _ in range(rounds):
        found = errors(function, x, np.longdouble)
        kept = np.argsort(found)[-KEPT:]
        best = max(best, Worst(float(found[kept[-1]]), float(x[kept[-1]])))
        x = neighbours(x[kept], domains)
    return best


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--isa", nargs="+", default=LEVELS, choices=LEVELS)
    parser.add_argument("--functions", nargs="+", default=list(FUNCTIONS), choices=FUNCTIONS)
    given = parser.parse_args()
    good = True
    for isa in given.isa:
        _core.use_isa(isa)
        for name in given.functions:
            function = FUNCTIONS[name]
            count = sum(b - a for a, b in chunks(function.domains[np.float32]))
            found = {
                np.float32: every_float32(function, f"{isa} {name}"),
                np.float64: search(function),
            }
            for dtype, worst in found.items():
                held = worst.error <= function.bound[dtype]
                good &= held
                print(
                    f"{isa} {name} {np.dtype(dtype)}: {worst.error:.3f} ULP at {worst.at!r}"
                    + (f", of {count} numbers" if dtype is np.float32 else ", found by a search")
                    + ("" if held else f"; the bound is {function.bound[dtype]}"),
                    flush=True,
                )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
