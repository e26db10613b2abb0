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
PRECISION = 200


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
# Steps of n per octave (the lanes of a vector) and the degree of q, by the same rule, with FMA.
EXP_TABLES = (FLOAT, 8, 1), (FLOAT, 16, 1), (DOUBLE, 8, 5)


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


def exp_problem(kind: Type, steps: int = 1) -> Problem:
    half = mp.log(2) * (mp.mpf(0.5) / steps + kind.slack)
    formula = "e^r = 1 + r + r^2 q(r)"
    return Problem(
        "kExp",
        formula,
        -half,
        half,
        function=lambda r: (mp.exp(r) - 1 - r) / r**2,
        weight=lambda r: r**2 * mp.exp(-r),
        leading=(1, 1),
    )


def log_problem() -> Problem:
    formula = "R(z) = (2 atanh(s) - 2 s) / s^3, z = s^2"
    return Problem(
        "kLog",
        formula,
        mp.mpf(0),
        mp.mpf(1) / 9,
        function=lambda z: (mp.atanh(mp.sqrt(z)) / mp.sqrt(z) - 1) * 2 / z,
        weight=lambda z: z * mp.sqrt(z) / (2 * mp.atanh(mp.sqrt(z))),
    )


def minimax(rows: list[list[mp.mpf]], target: list[mp.mpf]) -> list[mp.mpf]:
    """Remez exchange on a grid: the c that minimise max |target[i] - sum_j rows[i][j] c[j]|."""
    count = len(rows[0]) + 1
    # The lowest power may change sign at 0: what alternates is the residual times that sign.
    fold = np.array([1 if row[0] > 0 else -1 for row in rows])
    # The grid is one of Chebyshev points: equal steps in it make a good first reference.
    reference = [(2 * i + 1) * len(rows) // (2 * count) for i in range(count)]
    while True:
        system = [[*rows[i], fold[i] * (-1) ** k] for k, i in enumerate(reference)]
        *c, level = mp.lu_solve(mp.matrix(system), mp.matrix([target[i] for i in reference]))
        pairs = zip(rows, target, strict=True)
        residual = fold * np.array([float(t - mp.fdot(row, c)) for row, t in pairs])
        size = np.abs(residual)
        if np.max(size) <= abs(level) * (1 + 1e-6):
            return c
        # In the reference the size is abs(level): at least `count` alternating peaks are left.
        large = np.flatnonzero(size >= abs(float(level)) * (1 - 1e-9))
        turns = np.flatnonzero(np.diff(np.sign(residual[large]))) + 1
        reference = [int(run[np.argmax(size[run])]) for run in np.split(large, turns)]
        while len(reference) > count:
            reference.pop(0 if size[reference[0]] < size[reference[-1]] else -1)


def fit(problem: Problem, kind: Type, degree: int) -> tuple[list[mp.mpf], float]:
    """Coefficients, rounded to the type, and the largest weighted error."""
    nodes = [(1 - mp.cos(mp.pi * (i + mp.mpf(0.5)) / GRID)) / 2 for i in range(GRID)]
    grid = [problem.low + (problem.high - problem.low) * node for node in nodes]
    rows = [[problem.weight(x) * x**j for j in range(degree + 1)] for x in grid]
    left = [problem.weight(x) * problem.function(x) for x in grid]
    coefficients = []
    for _ in range(degree + 1):
        coefficients.append(kind.round(minimax(rows, left)[0]))
        left = [t - row[0] * coefficients[-1] for row, t in zip(rows, left, strict=True)]
        rows = [row[1:] for row in rows]
    return coefficients, float(max(abs(t) for t in left))


def literal(value: mp.mpf, kind: Type) -> str:
    digits, exponent = float(value).hex().split("p")
    suffix = "f" if kind is FLOAT else ""
    return f"{digits.rstrip('0').rstrip('.')}p{exponent}{suffix}"


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
    line = f"  static constexpr {kind.name} %s = %s;\n"
    return "".join(line % (name, literal(value, kind)) for name, value in values.items())


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


def table(kind: Type, steps: int, degree: int) -> str:
    ln2 = mp.log(2)
    ln2_hi = kind.round(ln2)
    lines = f"\ntemplate <> struct ExpTable<{kind.name}, {steps}> {{\n"
    for name, value in {"kLn2Hi": ln2_hi, "kLn2Lo": kind.round(ln2 - ln2_hi)}.items():
        lines += f"  static constexpr {kind.name} {name} = {literal(value / steps, kind)};\n"
    roots = [literal(kind.round(mp.mpf(2) ** (mp.mpf(i) / steps)), kind) for i in range(steps)]
    rows = [", ".join(roots[i : i + 4]) for i in range(0, steps, 4)]
    lines += f"  static constexpr {kind.name} kRoots[{steps}] = {{\n      "
    lines += ",\n      ".join(rows) + "};\n"
    return lines + array(exp_problem(kind, steps), kind, degree) + "};\n"


PREAMBLE = """\
// Generated by tools/fit_polynomials.py: do not edit, run it again.
//
// exp(t), t <= 0: n = round(t kLog2E), r = t - n kLn2Hi - n kLn2Lo, e^t = 2^n e^r.
//   kLn2Hi ends in so many zeros that n kLn2Hi is exact also without FMA. From kExpUnderflow up
//   the result is a normal number.
//   With a table of S roots (levels with FMA): n = round(t S kLog2E), r = t - n kLn2Hi - n kLn2Lo,
//   e^t = 2^(n / S) e^r = 2^floor(n / S) kRoots[n mod S] e^r.
// log(v): v = 2^k (1 + f), 1/sqrt(2) <= 1 + f < sqrt(2), s = f / (2 + f), h = f^2 / 2,
//   log(1 + f) = 2 s + s^3 R(s^2) = f - (h - s (h + s^2 R(s^2))),
//   log v = k kLn2Hi + (f - (h - (s (h + s^2 R(s^2)) + k kLn2Lo))).
// log1p(u), 0 <= u <= 1: log(1 + f) with f = u.
//
// Element j of an array is the coefficient of x^j. Errors are relative to e^r or log(1 + f), of the
// rounded polynomial in exact arithmetic. tests/losses/test_coefficients.py bounds the total error.
#pragma once

namespace softstep::KERNEL_ISA {
namespace {

// clang-format off
template <class T> struct Coefficients;
template <class T, int Steps> struct ExpTable;
"""
END = "// clang-format on\n\n} // namespace\n} // namespace softstep::KERNEL_ISA\n"


def header() -> str:
    text = PREAMBLE
    with mp.workprec(PRECISION):
        for kind, exp_degree, log_degree in DEGREES:
            text += f"\ntemplate <> struct Coefficients<{kind.name}> {{\n{constants(kind)}"
            text += array(exp_problem(kind), kind, exp_degree)
            text += array(log_problem(), kind, log_degree) + "};\n"
        for kind, steps, degree in EXP_TABLES:
            text += table(kind, steps, degree)
    return text + END


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
