"""Fit the polynomials of the exp and log kernels and write cpp/kernels/coefficients.hpp.

Each fit is a relative minimax (Remez) fit; the coefficients are then rounded to the working type one
at a time, lowest degree first, with the remaining ones refitted after each rounding (a beam search).

    python tools/fit_polynomials.py            write the header
    python tools/fit_polynomials.py --check    exit 1 if the committed header differs
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import mpmath as mp
import numpy as np

HEADER = Path(__file__).resolve().parents[1] / "cpp" / "kernels" / "coefficients.hpp"
GRID = 800
BEAM = 12
mp.mp.prec = 200


@dataclass(frozen=True)
class Type:
    """A working type: how many bits it has, and how many bits n = round(t / ln 2) may take."""

    suffix: str
    ctype: str
    bits: int
    n_bits: int
    emin: int
    slack: str  # |t * log2e - n| <= 1/2 + slack: rounding of log2e, of the product, of the sum

    def round(self, value: mp.mpf, bits: int = 0) -> mp.mpf:
        with mp.workprec(bits or self.bits):
            return +mp.mpf(value)

    def neighbours(self, value: mp.mpf) -> list[mp.mpf]:
        nearest = self.round(value)
        ulp = mp.ldexp(1, int(mp.floor(mp.log(abs(nearest), 2))) + 1 - self.bits)
        return [nearest, nearest + (ulp if value > nearest else -ulp)]


F32 = Type("F32", "float", 24, 8, -126, "0x1p-16")
F64 = Type("F64", "double", 53, 11, -1022, "0x1p-42")


@dataclass
class Fit:
    """The coefficients of x^j for function(x) on [low, high], error measured times weight(x)."""

    name: str
    kind: Type
    degree: int
    low: mp.mpf
    high: mp.mpf
    function: Callable[[mp.mpf], mp.mpf]
    weight: Callable[[mp.mpf], mp.mpf]
    fixed: dict[int, int]
    formula: str
    coefficients: dict[int, mp.mpf] = field(default_factory=dict)
    error: float = 0.0


def minimax(x: np.ndarray, weight: np.ndarray, error: np.ndarray, powers: list[int]) -> np.ndarray:
    """Remez exchange on a grid: the d that minimise max |error - weight * sum d_j x^powers_j|."""
    # x^powers[0] may change sign at 0; the alternation is that of the error times this sign.
    fold = np.where(x < 0, -1.0, 1.0) ** powers[0]
    scale = np.max(np.abs(x)) ** np.array(powers)
    columns = (fold * weight)[:, None] * x[:, None] ** np.array(powers) / scale
    target = fold * error
    count = len(powers)
    positions = 0.5 - 0.5 * np.cos(np.pi * (np.arange(count + 1) + 0.5) / (count + 1))
    reference = np.searchsorted(x, x[0] + (x[-1] - x[0]) * positions)
    signs = (-1.0) ** np.arange(count + 1)
    best, smallest = np.zeros(count), np.inf
    for _ in range(60):
        system = np.column_stack([columns[reference], signs])
        solution = np.linalg.solve(system, target[reference])
        residual = target - columns @ solution[:-1]
        worst = np.max(np.abs(residual))
        if worst < smallest:
            smallest, best = worst, solution[:-1] / scale
        if worst <= abs(solution[-1]) * (1 + 1e-9):
            break
        # The reference itself has residual +-level, so count + 1 alternating peaks are left.
        large = np.flatnonzero(np.abs(residual) >= abs(solution[-1]) * (1 - 1e-6))
        turns = np.flatnonzero(np.diff(np.sign(residual[large]))) + 1
        peaks = [run[np.argmax(np.abs(residual[run]))] for run in np.split(large, turns)]
        if len(peaks) <= count:  # double precision is exhausted: the caller corrects the rest
            break
        while len(peaks) > count + 1:
            peaks.pop(0 if abs(residual[peaks[0]]) < abs(residual[peaks[-1]]) else -1)
        reference = np.array(peaks)
    return best


def fit(job: Fit) -> Fit:
    nodes = [-mp.cos(mp.pi * i / (GRID - 1)) for i in range(GRID)]
    grid = [job.low + (job.high - job.low) * (1 + node) / 2 for node in nodes]
    values, weights = [job.function(x) for x in grid], [job.weight(x) for x in grid]
    x, weight = np.array(grid, dtype=float), np.array(weights, dtype=float)
    free = [j for j in range(job.degree + 1) if j not in job.fixed]

    def residual(c: dict[int, mp.mpf]) -> np.ndarray:
        top_down = [c[j] for j in range(job.degree, -1, -1)]
        pairs = zip(grid, values, weights, strict=True)
        return np.array([float(w * (v - mp.polyval(top_down, g))) for g, v, w in pairs])

    # Double precision is enough for each step, because it only corrects an exactly known residual.
    best = {j: mp.mpf(job.fixed.get(j, 0)) for j in range(job.degree + 1)}
    for _ in range(4):
        for j, step in zip(free, minimax(x, weight, residual(best), free), strict=True):
            best[j] += mp.mpf(float(step))

    states = [(0.0, best, residual(best))]
    for done, j in enumerate(free):
        rest = free[done + 1 :]
        tried: dict[tuple[mp.mpf, ...], tuple[float, dict[int, mp.mpf], np.ndarray]] = {}
        for _, c, error in states:
            for rounded in job.kind.neighbours(c[j]):
                new, left = {**c, j: rounded}, error + weight * x**j * float(c[j] - rounded)
                steps = minimax(x, weight, left, rest) if rest else []
                for power, step in zip(rest, steps, strict=True):
                    new[power] += mp.mpf(float(step))
                    left = left - weight * x**power * step
                key = tuple(new[power] for power in free[: done + 1])
                tried[key] = (float(np.max(np.abs(left))), new, left)
        states = sorted(tried.values(), key=lambda state: state[0])[:BEAM]
    job.coefficients = states[0][1]
    job.error = float(np.max(np.abs(residual(job.coefficients))))
    return job


def exp_fit(kind: Type, name: str, degree: int) -> Fit:
    half = mp.log(2) * (mp.mpf("0.5") + mp.mpf(float.fromhex(kind.slack)))
    return Fit(name, kind, degree, -half, half, mp.exp, lambda r: mp.exp(-r), {0: 1, 1: 1}, "e^r")


def log_fit(kind: Type, name: str, degree: int) -> Fit:
    def function(z: mp.mpf) -> mp.mpf:
        if z == 0:
            return mp.mpf(2) / 3
        s = mp.sqrt(z)
        return (2 * mp.atanh(s) - 2 * s) / (s * z)

    def weight(z: mp.mpf) -> mp.mpf:  # the error's share of log((1 + s) / (1 - s)) = 2 atanh(s)
        s = mp.sqrt(z)
        return s * z / (2 * mp.atanh(s)) if z else mp.mpf(0)

    what = "(2 atanh(s) - 2 s) / s^3 for z = s^2"
    return Fit(name, kind, degree, mp.mpf(0), mp.mpf(1) / 9, function, weight, {}, what)


def literal(value: mp.mpf, kind: Type) -> str:
    digits, exponent = float(value).hex().split("p")
    return f"{digits.rstrip('0').rstrip('.')}p{exponent}{'f' if kind is F32 else ''}"


def array(job: Fit) -> str:
    values = [literal(job.coefficients[j], job.kind) for j in range(job.degree + 1)]
    rows = [", ".join(values[i : i + 4]) for i in range(0, len(values), 4)]
    body = ",\n      ".join(rows)
    interval = f"[{mp.nstr(job.low, 8)}, {mp.nstr(job.high, 8)}]"
    return (
        f"  // {job.formula} on {interval}: error {job.error:.2e}\n"
        f"  static constexpr {job.kind.ctype} {job.name}[{len(values)}] = {{\n      {body}}};\n"
    )


def constants(kind: Type) -> str:
    ln2 = mp.log(2)
    ln2_hi = kind.round(ln2, kind.bits - kind.n_bits)
    limit = kind.emin * ln2
    underflow = max(kind.neighbours(limit))
    values = {
        "kLog2E": kind.round(1 / ln2),
        "kLn2Hi": ln2_hi,
        "kLn2Lo": kind.round(ln2 - ln2_hi),
        "kRoundMagic": mp.mpf(3) * 2 ** (kind.bits - 2),
        "kExpUnderflow": underflow,
    }
    return "".join(
        f"  static constexpr {kind.ctype} {name} = {literal(value, kind)};\n"
        for name, value in values.items()
    )


PREAMBLE = """\
// Generated by tools/fit_polynomials.py: do not edit, run it again.
// c[j] is the coefficient of x^j. Errors are relative to the result, of the polynomial alone.
//
// exp(t), t <= 0: n = fma(t, kLog2E, kRoundMagic) - kRoundMagic; r = t - n kLn2Hi - n kLn2Lo;
//   e^r by Horner in kExp; times 2^n by adding n to the exponent field. kLn2Hi has so many trailing
//   zeros that n kLn2Hi is exact. From kExpUnderflow upwards the result is a normal number.
// log(v): v = 2^k (1 + f), 1/sqrt(2) <= 1 + f < sqrt(2); s = f / (2 + f); z = s s; h = f f / 2;
//   log(1 + f) = f - (h - s (h + z R(z))) with R by Horner in kLog;
//   log v = k kLn2Hi - ((h - (s (h + z R(z)) + k kLn2Lo)) - f).
// log1p(u), 0 <= u <= 1: as log(1 + f) with f = u.
#pragma once

namespace softstep::KERNEL_ISA {
namespace {

template <class T> struct Coefficients;
"""
POSTAMBLE = """
} // namespace
} // namespace softstep::KERNEL_ISA
"""


def header() -> str:
    jobs = [
        exp_fit(F32, "kExp", 6),
        exp_fit(F32, "kExp5", 5),
        log_fit(F32, "kLog", 3),
        exp_fit(F64, "kExp", 11),
        log_fit(F64, "kLog", 9),
    ]
    text = PREAMBLE
    for kind in (F32, F64):
        arrays = "".join(array(fit(job)) for job in jobs if job.kind is kind)
        text += f"\ntemplate <> struct Coefficients<{kind.ctype}> {{\n"
        text += constants(kind) + arrays + "};\n"
    return text + POSTAMBLE


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args().check
    text = header()
    if not check:
        HEADER.write_text(text)
        return 0
    if HEADER.read_text() == text:
        return 0
    print(f"{HEADER}: differs from what {Path(__file__).name} generates", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
