"""Fit the polynomials of the exp and log kernels and write cpp/kernels/coefficients.hpp.

Each is a relative minimax (Remez) fit. Its coefficients are then rounded to the working type one by
one, the lowest degree first; after each rounding those that are left are fitted again.

    python tools/fit_polynomials.py            write the header
    python tools/fit_polynomials.py --check    exit 1 if the header is not what this writes
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mpmath as mp
import numpy as np

HEADER = Path(__file__).resolve().parents[1] / "cpp" / "kernels" / "coefficients.hpp"
GRID = 400
PRECISION = 200  # bits


@dataclass(frozen=True)
class Type:
    name: str
    bits: int
    min_exponent: int
    n_bits: int  # of n = round(t / ln 2), at most
    slack: float  # |t / ln 2 - n| <= 1/2 + slack, because t / ln 2 is rounded

    def round(self, value: mp.mpf, *, bits: int = 0, direction: str = "n") -> mp.mpf:
        return mp.mpf(value, prec=bits or self.bits, rounding=direction)


FLOAT = Type("float", bits=24, min_exponent=-126, n_bits=8, slack=2.0**-16)
DOUBLE = Type("double", bits=53, min_exponent=-1022, n_bits=11, slack=2.0**-42)
# Of q in exp and of R in log: the lowest with a total error below 1.5 ULP, with or without FMA.
DEGREES = (FLOAT, 4, 3), (DOUBLE, 9, 9)


@dataclass(frozen=True)
class Problem:
    """Find the polynomial nearest to function on [low, high]; an error counts times weight(x)."""

    name: str
    formula: str
    low: mp.mpf
    high: mp.mpf
    function: Callable[[mp.mpf], mp.mpf]
    weight: Callable[[mp.mpf], mp.mpf]
    leading: tuple[int, ...] = ()  # known coefficients: the fitted ones follow them in the array


def exp_problem(kind: Type) -> Problem:
    half = mp.log(2) * (mp.mpf(0.5) + kind.slack)
    formula = "e^r = 1 + r + r^2 q(r)"

    def function(r: mp.mpf) -> mp.mpf:
        return (mp.exp(r) - 1 - r) / r**2 if r else mp.mpf(0.5)

    return Problem("kExp", formula, -half, half, function, lambda r: r**2 * mp.exp(-r), (1, 1))


def log_problem() -> Problem:
    formula = "R(z) = (2 atanh(s) - 2 s) / s^3, z = s^2"

    def function(z: mp.mpf) -> mp.mpf:
        s = mp.sqrt(z)
        return (2 * mp.atanh(s) - 2 * s) / s**3 if z else mp.mpf(2) / 3

    def weight(z: mp.mpf) -> mp.mpf:
        s = mp.sqrt(z)
        return s**3 / (2 * mp.atanh(s)) if z else mp.mpf(0)

    return Problem("kLog", formula, mp.mpf(0), mp.mpf(1) / 9, function, weight)


def minimax(x: np.ndarray, weight: np.ndarray, error: np.ndarray, powers: range) -> list[mp.mpf]:
    """Remez exchange on a grid: the d that minimise max |error - weight * sum d_j x^powers[j]|.

    No BLAS and no pow: the header must come out the same on every machine.
    """
    columns = [weight * np.prod([x] * j, axis=0) for j in powers]
    signs = [(-1) ** i for i in range(len(powers) + 1)]
    # x^powers[0] may change sign at 0: what alternates is the error times that sign.
    fold = np.where(x < 0, -1.0, 1.0) if powers[0] % 2 else np.ones(len(x))
    # The grid is one of Chebyshev points: equal steps in it make a good first reference.
    reference = [(2 * i + 1) * len(x) // (2 * len(signs)) for i in range(len(signs))]
    best, least = [mp.mpf(0)] * len(powers), np.inf
    for _ in range(60):
        levels = [sign * fold[i] for i, sign in zip(reference, signs, strict=True)]
        system = np.column_stack([*(column[reference] for column in columns), levels])
        *step, level = mp.lu_solve(mp.matrix(system.tolist()), mp.matrix(error[reference].tolist()))
        residual = error.copy()
        for column, d in zip(columns, step, strict=True):
            residual -= column * float(d)
        worst = np.max(np.abs(residual))
        if worst < least:
            best, least = step, worst
        # The reference has residual +-level: that many alternating peaks are left, or more.
        large = np.flatnonzero(np.abs(residual) >= abs(float(level)) * (1 - 1e-6))
        turns = np.flatnonzero(np.diff(np.sign((fold * residual)[large]))) + 1
        peaks = [run[np.argmax(np.abs(residual[run]))] for run in np.split(large, turns)]
        if worst <= abs(level) * (1 + 1e-9) or len(peaks) < len(signs):  # or out of precision
            break
        while len(peaks) > len(signs):
            peaks.pop(0 if abs(residual[peaks[0]]) < abs(residual[peaks[-1]]) else -1)
        reference = peaks
    return best


def fit(problem: Problem, kind: Type, degree: int) -> tuple[list[mp.mpf], float]:
    """Coefficients, rounded to the type, and the largest weighted error."""
    nodes = [(1 - mp.cos(mp.pi * i / (GRID - 1))) / 2 for i in range(GRID)]
    grid = [problem.low + (problem.high - problem.low) * node for node in nodes]
    values, weights = [problem.function(x) for x in grid], [problem.weight(x) for x in grid]
    x, weight = np.array(grid, dtype=float), np.array(weights, dtype=float)

    def error_of(c: list[mp.mpf]) -> np.ndarray:
        points = zip(grid, values, weights, strict=True)
        return np.array([float(w * (v - mp.polyval(c[::-1], g))) for g, v, w in points])

    c = [mp.mpf(0)] * (degree + 1)

    def refit(first: int) -> None:
        # In double precision, which is enough: each step corrects an exactly known error.
        steps = minimax(x, weight, error_of(c), range(first, degree + 1))
        c[first:] = [old + step for old, step in zip(c[first:], steps, strict=True)]

    for _ in range(3):
        refit(0)
    for j in range(degree + 1):
        refit(j)
        c[j] = kind.round(c[j])
    return c, float(np.max(np.abs(error_of(c))))


def literal(value: mp.mpf, kind: Type) -> str:
    digits, exponent = float(value).hex().split("p")
    return f"{digits.rstrip('0').rstrip('.')}p{exponent}{'f' if kind is FLOAT else ''}"


def constants(kind: Type) -> str:
    ln2 = mp.log(2)
    ln2_hi = kind.round(ln2, bits=kind.bits - kind.n_bits)
    values = {
        "kLog2E": kind.round(1 / ln2),
        "kLn2Hi": ln2_hi,
        "kLn2Lo": kind.round(ln2 - ln2_hi),
        "kRoundMagic": mp.mpf(3) * 2 ** (kind.bits - 2),
        "kExpUnderflow": kind.round(kind.min_exponent * ln2, direction="c"),
    }
    return "".join(
        f"  static constexpr {kind.name} {name} = {literal(value, kind)};\n"
        for name, value in values.items()
    )


def array(problem: Problem, kind: Type, degree: int) -> str:
    coefficients, error = fit(problem, kind, degree)
    values = [literal(mp.mpf(c), kind) for c in (*problem.leading, *coefficients)]
    rows = [", ".join(values[i : i + 4]) for i in range(0, len(values), 4)]
    low, high = mp.nstr(problem.low, 8), mp.nstr(problem.high, 8)
    return (
        f"  // {problem.formula}, on [{low}, {high}]: error {error:.2e} = 2^{np.log2(error):.1f}\n"
        f"  static constexpr {kind.name} {problem.name}[{len(values)}] = {{\n      "
        + ",\n      ".join(rows)
        + "};\n"
    )


PREAMBLE = """\
// Generated by tools/fit_polynomials.py: do not edit, run it again.
//
// exp(t), t <= 0: n = round(t kLog2E), r = t - n kLn2Hi - n kLn2Lo, e^t = 2^n e^r.
//   kLn2Hi ends in so many zeros that n kLn2Hi is exact also without FMA. From kExpUnderflow up
//   the result is a normal number.
// log(v): v = 2^k (1 + f), 1/sqrt(2) <= 1 + f < sqrt(2), s = f / (2 + f), h = f^2 / 2,
//   log(1 + f) = 2 s + s^3 R(s^2) = f - (h - s (h + s^2 R(s^2))),
//   log v = k kLn2Hi + (f - (h - (s (h + s^2 R(s^2)) + k kLn2Lo))).
// log1p(u), 0 <= u <= 1: log(1 + f) with f = u.
//
// Element j of an array is the coefficient of x^j. Errors are relative to e^r or log(1 + f), of the
// rounded polynomial in exact arithmetic. tests/test_coefficients.py bounds the total error.
#pragma once

namespace softstep::KERNEL_ISA {
namespace {

// clang-format off
template <class T> struct Coefficients;
"""
POSTAMBLE = """// clang-format on

} // namespace
} // namespace softstep::KERNEL_ISA
"""


def header() -> str:
    text = PREAMBLE
    with mp.workprec(PRECISION):
        for kind, exp_degree, log_degree in DEGREES:
            text += f"\ntemplate <> struct Coefficients<{kind.name}> {{\n{constants(kind)}"
            text += array(exp_problem(kind), kind, exp_degree)
            text += array(log_problem(), kind, log_degree) + "};\n"
    return text + POSTAMBLE


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, do not write")
    check = parser.parse_args(arguments).check
    text = header()
    if not check:
        HEADER.write_text(text)
    elif HEADER.read_text() != text:
        print(f"{HEADER}: not what {Path(__file__).name} generates", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
