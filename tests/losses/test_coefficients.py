"""The polynomials of exp and log: reproducible, and as accurate as their header says."""

import importlib.util
import re
from collections.abc import Callable
from fractions import Fraction
from types import SimpleNamespace

import mpmath as mp
import numpy as np
import pytest

from tests.support.paths import ROOT

SPEC = importlib.util.spec_from_file_location("fit", ROOT / "tools" / "fit_polynomials.py")
fit = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(fit)

TYPES = {"float": (np.float32, 24, -126), "double": (np.float64, 53, -1022)}
TOTAL_ULP = {"exp": 1.25, "log": 1.0, "log1p": 1.4}


@pytest.fixture(params=TYPES)
def table(request: pytest.FixtureRequest) -> SimpleNamespace:
    """The constants of one type, read from the header."""
    return read_struct("Coefficients", request.param)


@pytest.fixture(params=["float, 8", "float, 16", "double, 8"])
def roots(request: pytest.FixtureRequest) -> SimpleNamespace:
    """The constants of exp with a table; those of its type are added."""
    kind, steps = request.param.split(", ")
    common = read_struct("Coefficients", kind)
    constants = vars(common) | vars(read_struct("ExpTable", request.param))
    return SimpleNamespace(**constants, steps=int(steps))


def read_struct(struct: str, parameters: str) -> SimpleNamespace:
    dtype, bits, min_exponent = TYPES[parameters.split(",")[0]]
    table = SimpleNamespace(dtype=dtype, bits=bits, min_exponent=min_exponent, bound={})
    text = fit.HEADER.read_text().split(f"struct {struct}<{parameters}> {{")[1]
    pattern = r"(?:error (\S+) = .*\n)?  static constexpr \w+ (\w+)\S* = ([^;]*);"
    for bound, name, value in re.findall(pattern, text.split("\n};")[0]):
        numbers = re.findall(r"-?0x[\da-f.]+p[+-]\d+", value)
        constants = [dtype(float.fromhex(number)) for number in numbers]
        setattr(table, name, constants if value.startswith("{") else constants[0])
        if bound:
            table.bound[name] = float(bound)
    return table


def test_header_is_what_the_script_writes(tmp_path, monkeypatch, capsys):
    assert fit.main(["--check"]) == 0
    other = tmp_path / "coefficients.hpp"
    other.write_text(fit.HEADER.read_text().replace("0x1.8p+23f", "0x1.8p+24f"))
    monkeypatch.setattr(fit, "HEADER", other)
    assert fit.main(["--check"]) == 1
    assert "coefficients.hpp" in capsys.readouterr().err


def polynomial(coefficients: list[float], x: mp.mpf) -> mp.mpf:
    total = mp.mpf(0)  # Horner here: mpmath 1.4 changed the order that its polyval takes
    for c in reversed(coefficients):
        total = total * x + mp.mpf(float(c))
    return total


def test_exp_polynomial_error(table):
    with mp.workprec(160):
        half = mp.log(2) / 2
        worst = max(
            abs(polynomial(table.kExp, r) / mp.exp(r) - 1) for r in mp.linspace(-half, half, 3001)
        )
    assert worst <= table.bound["kExp"] * 1.005  # the header rounds it to three digits


def test_exp_table_constants(roots):
    with mp.workprec(200):
        half = mp.log(2) / (2 * roots.steps)
        errors = (polynomial(roots.kExp, r) / mp.exp(r) - 1 for r in mp.linspace(-half, half, 501))
        assert max(abs(e) for e in errors) <= roots.bound["kExp"] * 1.005
        ln2 = mp.mpf(float(roots.kLn2Hi)) + mp.mpf(float(roots.kLn2Lo))
        assert abs(ln2 * roots.steps - mp.log(2)) < mp.mpf(2) ** (-2 * roots.bits)
        powers = [float(mp.mpf(2) ** (mp.mpf(i) / roots.steps)) for i in range(roots.steps)]
    assert [float(root) for root in roots.kRoots] == [float(roots.dtype(p)) for p in powers]


def test_log_polynomial_error(table):
    with mp.workprec(160):
        worst = mp.mpf(0)
        for f in [*mp.linspace(mp.sqrt(0.5) - 1, 1, 3000), mp.mpf("1e-9"), mp.mpf("-1e-9")]:
            s = f / (2 + f)
            approximation = 2 * s + s**3 * polynomial(table.kLog, s**2)
            worst = max(worst, abs(approximation / mp.log1p(f) - 1))
    assert worst <= table.bound["kLog"] * 1.005


def test_argument_reduction_constants(table):
    limit = 160 if table.bits == 24 else 1100
    high, low = table.kLn2Hi, table.kLn2Lo
    for n in range(-limit, limit + 1):
        assert Fraction(float(table.dtype(n) * high)) == n * Fraction(float(high))
    with mp.workprec(200):
        rest = abs(mp.log(2) - mp.mpf(float(high)) - mp.mpf(float(low)))
        assert limit * rest < mp.mpf(2) ** (-table.bits - 10)
        assert abs(float(table.kLog2E) * mp.log(2) - 1) < mp.mpf(2) ** -table.bits


def test_results_are_normal_from_the_underflow_threshold_up(table):
    t = np.full(2000, table.kExpUnderflow)
    for i in range(1, len(t)):
        t[i] = np.nextafter(t[i - 1], table.dtype(0))
    with mp.workprec(200):
        for fma in (fused(table), separate):
            assert np.all(exp(table, fma, t) >= np.finfo(table.dtype).smallest_normal)
        below = np.nextafter(table.kExpUnderflow, table.dtype(-np.inf))
        assert mp.exp(mp.mpf(float(below))) < mp.mpf(2) ** table.min_exponent


# The kernels' arithmetic (cpp/kernels/math.hpp), one rounding per operation.

Fma = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def separate(a, b, c):
    return a * b + c


def fused(table: SimpleNamespace) -> Fma:
    if table.bits == 24:
        # The product is exact in double; rounding the sum twice costs 2^-29 ULP at most.
        return lambda a, b, c: (np.float64(a) * np.float64(b) + np.float64(c)).astype(np.float32)
    once = np.frompyfunc(lambda a, b, c: float(mp.mpf(a) * mp.mpf(b) + mp.mpf(c)), 3, 1)
    return lambda a, b, c: once(a, b, c).astype(np.float64)


def horner(fma: Fma, coefficients: list, x: np.ndarray) -> np.ndarray:
    p = np.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        p = fma(p, x, c)
    return p


def exp(table: SimpleNamespace, fma: Fma, t: np.ndarray) -> np.ndarray:
    n = fma(t, table.kLog2E, table.kRoundMagic) - table.kRoundMagic
    r = fma(n, -table.kLn2Lo, fma(n, -table.kLn2Hi, t))
    return np.ldexp(horner(fma, table.kExp, r), n.astype(int))


def exp_by_table(roots: SimpleNamespace, fma: Fma, t: np.ndarray) -> np.ndarray:
    n = fma(t, roots.dtype(roots.steps) * roots.kLog2E, roots.kRoundMagic) - roots.kRoundMagic
    r = fma(n, -roots.kLn2Lo, fma(n, -roots.kLn2Hi, t))
    whole, part = np.divmod(n.astype(int), roots.steps)
    power = np.ldexp(np.array(roots.kRoots)[part], whole)
    rest = fma(horner(fma, roots.kExp[2:], r), r * r, r)
    return fma(rest, power, power)


def log_product(table: SimpleNamespace, fma: Fma, f: np.ndarray, h: np.ndarray) -> np.ndarray:
    s = f / (f + table.dtype(2))
    z = s * s
    return s * fma(z, horner(fma, table.kLog, z), h)


def log1p(table: SimpleNamespace, fma: Fma, u: np.ndarray) -> np.ndarray:
    h = table.dtype(0.5) * u * u
    return u - (h - log_product(table, fma, u, h))


def log(table: SimpleNamespace, fma: Fma, v: np.ndarray) -> np.ndarray:
    m, k = np.frexp(v)
    low = m < table.dtype(np.sqrt(0.5))
    f = np.where(low, m + m, m) - table.dtype(1)
    n = (k - low).astype(table.dtype)
    h = table.dtype(0.5) * f * f
    return fma(n, table.kLn2Hi, f - (h - fma(n, table.kLn2Lo, log_product(table, fma, f, h))))


def arguments(name: str, table: SimpleNamespace) -> np.ndarray:
    count = 100_000 if table.bits == 24 else 2_000
    random = np.random.default_rng(0).uniform(size=(3, count))
    edge = -float(table.kExpUnderflow)
    x = {
        "exp": [-edge * random[0], -random[1], -np.exp(-20 * random[2])],
        "log": [np.exp(edge * (2 * random[0] - 1)), 0.5 + random[1], 1 + 1e-3 * (random[2] - 0.5)],
        "log1p": [random[0], 0.8 + 0.2 * random[1], np.exp(-edge * random[2])],
    }[name]
    x = np.concatenate(x).astype(table.dtype)
    return x[x != 1] if name == "log" else x


@pytest.mark.parametrize("contraction", ["fused", "separate"])
@pytest.mark.parametrize("name", TOTAL_ULP)
def test_total_error(table, name, contraction):
    fma = fused(table) if contraction == "fused" else separate
    function = {"exp": exp, "log": log, "log1p": log1p}[name]
    assert total_error(name, table, function, fma) < TOTAL_ULP[name]


def test_total_error_of_exp_by_table(roots):
    assert total_error("exp", roots, exp_by_table, fused(roots)) < TOTAL_ULP["exp"]


def total_error(name: str, table: SimpleNamespace, function: Callable, fma: Fma) -> float:
    x = arguments(name, table)
    with mp.workprec(200):
        y = function(table, fma, x)
        assert y.dtype == table.dtype
        if table.bits == 24:
            exact = getattr(np, name)(x.astype(np.float64))
            ulps = np.ldexp(np.abs(y - exact), table.bits - np.frexp(exact)[1])
        else:
            exact = [getattr(mp, name)(mp.mpf(float(value))) for value in x]
            shifts = [table.bits - mp.frexp(value)[1] for value in exact]
            errors = [value - float(got) for value, got in zip(exact, y, strict=True)]
            ulps = [abs(mp.ldexp(e, shift)) for e, shift in zip(errors, shifts, strict=True)]
    return max(ulps)
