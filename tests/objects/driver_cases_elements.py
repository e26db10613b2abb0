"""The driver's cases of what works element by element."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests import reference as ref
from tests.objects.driver_case import DTYPES, Case, overflown
from tests.support.bounds import EXP_ULP, LOG1P_ULP, LOG_ULP, TANH_ULP
from tests.support.cases import away_from_kinks, roundoff
from tests.support.cross_entropy_check import half_ulp
from tests.support.optimizer_cases import arrays

FLOATS, HALVES = DTYPES[:2], DTYPES[2:]
SIZES = [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 1025]


def pair(rng: np.random.Generator, dtype: np.dtype[Any]) -> Iterator[Case]:
    unit = roundoff(dtype)
    for size in SIZES:
        prediction, target = rng.normal(size=(2, size)).astype(dtype)
        scores, sign = away_from_kinks(3 * prediction), rng.choice([-1, 1], size).astype(dtype)
        losses = {
            "squared_error": (ref.squared_error_with_grad, prediction, target, {}, 0.0),
            "binary_hinge": (ref.hinge_with_grad, scores, sign, {"margin": 0.5}, 0.5),
        }
        for family, (function, x, y, options, least) in losses.items():
            loss, slope = function(x, y, reduction="none", **options)
            bound = unit * (np.abs(loss) + least + np.abs(x) * (family == "binary_hinge"))
            expected = {
                "loss": (loss, bound),
                "gradient": (0.25 * slope, unit * np.abs(slope)),
                "sum": (loss.sum(), bound.sum()),
            }
            arrays = {"prediction": x, "target": y}
            yield Case(family, dtype, str(size), arrays, expected, {**options, "upstream": 0.25})


def words(options: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items() if value)


def decays(lr: float) -> Iterator[tuple[dict[str, Any], dict[str, float]]]:
    """None, coupled and decoupled, as the reference and as the kernels take it."""
    yield {"weight_decay": 0.0}, {}
    yield {"weight_decay": 0.1, "decoupled": False}, {"coupled": 0.1}
    yield {"weight_decay": 0.1, "decoupled": True}, {"decoupled": lr * 0.1}


def sgd(rng: np.random.Generator, dtype: np.dtype[Any]) -> Iterator[Case]:
    momenta: list[dict[str, Any]] = [{}, {"momentum": 0.9}, {"momentum": 0.9, "dampening": 0.5}]
    momenta += [{"momentum": 0.9, "nesterov": True}]
    unit, number = roundoff(dtype), 0
    for momentum in momenta:
        for decay, taken in decays(0.3):
            for first in {True, not momentum}:
                for factor in (1.0, -0.25):
                    size = SIZES[number % len(SIZES)]
                    number += 1
                    param, grad, old = arrays(rng, [(size,)] * 3, dtype)
                    exact = ref.SGD([param], 0.3, **momentum, **decay)
                    given = {"param": param, "grad": grad}
                    if momentum and not first:
                        given["momentum"] = old
                        exact.states[0]["momentum_buffer"] = old.astype(np.float64)
                    exact.step([factor * grad.astype(np.float64)])
                    # Every term of the sums is below 4.
                    expected = {"param": (exact.params[0], 4 * unit)}
                    if momentum:
                        expected["momentum"] = (exact.states[0]["momentum_buffer"], 4 * unit)
                    options = {**momentum, **taken, "lr": 0.3, "gradient_factor": factor}
                    options["first"] = bool(momentum) and first
                    title = f"{size}, {words(options)}"
                    yield Case("sgd", dtype, title, given, expected, options)


def adamw(rng: np.random.Generator, dtype: np.dtype[Any]) -> Iterator[Case]:
    unit, number = roundoff(dtype), 0
    for betas in [(0.9, 0.999), (0.0, 0.5)]:
        for decay, taken in decays(0.3):
            for steps, amsgrad in itertools.product((1, 7), (False, True)):
                size = SIZES[number % len(SIZES)]
                number += 1
                param, grad, m, v, largest = arrays(rng, [(size,)] * 5, dtype)
                given = {"exp_avg": m, "exp_avg_sq": np.abs(v)}
                if amsgrad:
                    given["max_exp_avg_sq"] = np.abs(largest)
                exact = ref.AdamW([param], 0.3, betas=betas, eps=1e-3, amsgrad=amsgrad, **decay)
                wide = {name: array.astype(np.float64) for name, array in given.items()}
                exact.states[0].update(wide, step=steps - 1)
                exact.step([grad])
                state = exact.states[0]
                root = np.sqrt(1 - betas[1] ** steps)
                step_size = 0.3 * root / (1 - betas[0] ** steps)
                options = {"gradient_factor": 1.0, "beta1": betas[0], "beta2": betas[1], **taken}
                options |= {"step_size": step_size, "eps": 1e-3 * root}
                # Moments of at most 3; the quotient is 0.3 or more below by design of the arrays.
                bound = 4 * unit * (1 + step_size / np.sqrt(state["exp_avg_sq"]))
                expected = {name: (state[name], 4 * unit) for name in given}
                expected["param"] = exact.params[0], bound
                given |= {"param": param, "grad": grad}
                title = f"{size}, {words(options)}"
                yield Case("adamw", dtype, title, given, expected, options)


def norm(rng: np.random.Generator, dtype: np.dtype[Any]) -> Iterator[Case]:
    for size in SIZES:
        x = rng.normal(size=size).astype(dtype)
        total = (x.astype(np.float64) ** 2).sum()
        expected = {"sum_of_squares": (total, roundoff(dtype) * total)}
        yield Case("norm", dtype, str(size), {"x": x}, expected)


def half(rng: np.random.Generator, dtype: np.dtype[Any]) -> Iterator[Case]:
    """Every number to float32; float32 back, to the nearest and by chance."""
    every = np.arange(1 << 16, dtype=np.uint16).view(dtype)
    with np.errstate(invalid="ignore"):  # signalling NaNs
        exact = every.astype(np.float64)
    yield Case("half", dtype, "every number", {"x": every}, {"widened": (exact, 0)})
    for size in SIZES:
        wide = (rng.normal(size=size) * 2.0 ** rng.integers(-20, 14, size)).astype(np.float32)
        wide[: size // 9] = np.array([np.inf, -np.inf, np.nan])[np.arange(size // 9) % 3]
        nearest = wide.astype(dtype).astype(np.float64)
        between = overflown(wide, dtype)
        expected = {"narrowed": (nearest, 0), "by_chance": (between, 2 * half_ulp(wide, dtype))}
        yield Case("half", dtype, str(size), {"wide": wide}, expected)


def panel(rng: np.random.Generator, dtype: np.dtype[Any]) -> Iterator[Case]:
    compute = np.float32 if dtype.itemsize == 2 else dtype
    for size in SIZES:
        x = rng.integers(-99, 99, size).astype(dtype)  # exact sums
        to = rng.integers(-99, 99, size).astype(compute)
        wide = x.astype(np.float64)
        expected = {"copy": (wide, 0), "sum": (wide + to, 0)}
        yield Case("panel", dtype, str(size), {"x": x, "to": to}, expected)


def product(rng: np.random.Generator, dtype: np.dtype[Any]) -> Iterator[Case]:
    """Whole and partial tiles of every level; exact sums in every order."""
    compute = np.float32 if dtype.itemsize == 2 else dtype
    for rows, cols, depth in [(1, 1, 1), (1, 70, 33), (29, 3, 70), (37, 75, 65), (12, 64, 1100)]:
        left = rng.integers(-9, 9, (rows, depth)).astype(dtype)
        right = rng.integers(-9, 9, (depth, cols)).astype(dtype)
        before = rng.integers(-99, 99, (rows, cols)).astype(compute)
        exact = left.astype(np.float64) @ right.astype(np.float64)
        arrays = {"left": left, "right": right, "before": before}
        gated = np.where(before > 0, np.maximum(exact, 0), 0)
        expected = {"product": (exact, 0), "sum": (exact + before, 0), "gated": (gated, 0)}
        yield Case("product", dtype, f"{rows} x {cols} x {depth}", arrays, expected)


def stream(rng: np.random.Generator, dtype: np.dtype[Any]) -> Iterator[Case]:
    for size in SIZES:
        x = rng.integers(-99, 99, size).astype(dtype)  # exact in every order
        wide = x.astype(np.float64)
        expected = {"sum": (wide.sum(), 0), "copy": (wide, 0), "twice": (2 * wide, 0)}
        yield Case("stream", dtype, str(size), {"x": x}, {**expected, "negated": (-wide, 0)})


def mathematics(rng: np.random.Generator, dtype: np.dtype[Any]) -> Iterator[Case]:
    """Within the ULPs of test_exp.py; half of one for the reference's own rounding."""
    smallest = 87.3 if dtype == np.float32 else 708.3
    near_zero = 2.0 ** rng.uniform(-60, 6, 500)
    functions = {
        "exp": (np.exp, -np.concatenate([rng.uniform(0, smallest, 1001), near_zero]), EXP_ULP),
        "log": (np.log, np.concatenate([near_zero, rng.uniform(0.5, 2, 1003)]), LOG_ULP),
        "log1p": (np.log1p, np.minimum(near_zero, rng.uniform(0, 1, 500)), LOG1P_ULP),
        "tanh": (np.tanh, rng.uniform(-9, 9, 1003), TANH_ULP),
    }
    for name, (function, numbers, ulps) in functions.items():
        x = numbers.astype(dtype)
        values = function(x.astype(np.longdouble)).astype(np.float64)
        bound = (ulps[dtype.type] + 0.5) * np.spacing(np.abs(values).astype(dtype))
        yield Case("math", dtype, f"{name} of {x.size}", {"x": x}, {name: (values, bound)})
    special = np.array([0.0, -0.0, -np.inf, np.nan, np.finfo(dtype).min], dtype)
    yield Case("math", dtype, "exp", {"x": special}, {"exp": ([1, 1, 0, np.nan, 0], 0)})


def every_case() -> Iterator[Case]:
    rng = np.random.default_rng(2)
    for dtype in FLOATS:
        for family in (pair, sgd, adamw, norm, panel, product, stream, mathematics):
            yield from family(rng, dtype)
    for dtype in HALVES:
        for family in (panel, product, half):
            yield from family(rng, dtype)
