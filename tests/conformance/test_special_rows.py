"""Infinities, NaN and the largest numbers in rows of logits: the table of docs/numerics.md."""

from typing import Any

import numpy as np
import pytest

from tests import reference as ref
from tests.conformance.front_ends import FRONT_ENDS, Lacks
from tests.conformance.softmax_front_ends import LOG_SOFTMAX, LOGSUMEXP, SOFTMAX
from tests.support.cases import compute_dtype, roundoff
from tests.support.cross_entropy_check import half_ulp
from tests.support.special_rows import SPECIAL_ROWS

ml_dtypes = pytest.importorskip("ml_dtypes")
DTYPES = [np.dtype(d) for d in (np.float32, np.float64, np.float16, ml_dtypes.bfloat16)]
CLASSES, AT = 11, 4
# Differences of two, over the temperature, do not overflow.
LARGEST = {"float64": 1e306, "float16": 65504.0}


def special(dtype: Any) -> Any:
    """A row of each kind, the ordinary numbers of which are exact in every dtype."""
    x = np.resize([0.5, -1.0, 2.0, 0.25, -3.0, 1.5, 0.0], (len(SPECIAL_ROWS) + 1, CLASSES))
    for row, given in zip(x, SPECIAL_ROWS.values(), strict=False):
        largest = LARGEST.get(dtype.name, 8e37)
        fill, value = (np.copysign(largest, v) if v and abs(v) == 3e38 else v for v in given)
        if fill is not None:
            row[:] = fill
        row[AT] = value
    return x.astype(dtype)


def assert_same(actual: Any, expected: Any, bound: Any, titles: Any) -> None:
    """NaN and infinities where they are expected, the rest within the bound."""
    actual = np.asarray(actual).astype(np.float64)
    with np.errstate(invalid="ignore"):
        close = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
        close |= np.abs(actual - expected) <= bound
    assert close.all(), [
        f"{title}: {a}, expected {e}"
        for title, a, e, good in zip(titles, actual, expected, close, strict=True)
        if not np.all(good)
    ]


OPTIONS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.5},
    {"softcap": 4.0},
    {"z_loss": 2.0**-6},
    {"gamma": 2.0},
    {"label_smoothing": 0.25},
    {"label_smoothing": 0.25, "smoothing": "allowed"},
]
# A product with the identity makes NaN of infinities.
OF_LOGITS = [p for p in FRONT_ENDS if "head" not in str(p.id)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", ["classes", "probabilities", "points"])
@pytest.mark.parametrize("front_end", OF_LOGITS)
def test_cross_entropy(front_end: Any, kind: str, dtype: Any) -> None:
    """The target is the special class, and another."""
    x = np.concatenate([special(dtype)] * 2)
    titles = [*SPECIAL_ROWS, "ordinary"] * 2
    classes = np.repeat([AT, AT - 1], len(x) // 2)
    wide = compute_dtype(x)
    for options in OPTIONS[:: 1 if dtype == np.float32 else 3]:
        if "gamma" in options and kind != "classes":
            continue
        target, given = classes, dict(options)
        if kind == "probabilities":
            target = np.eye(CLASSES)[classes].astype(dtype)
        if kind == "points":
            target = np.stack([classes, (classes + 1) % CLASSES], axis=1)
            given["target_probabilities"] = np.tile(np.array([1, 0], wide), (len(x), 1))
        try:
            loss, gradient = front_end(x, target, **given)
        except Lacks as lack:
            pytest.skip(str(lack))
        exact = ref.cross_entropy_results(x.astype(np.float64), target, reduction="none", **given)
        with np.errstate(over="ignore"):
            expected = exact["loss"].astype(wide).astype(np.float64)  # may overflow
        unit = 40 * roundoff(wide, CLASSES)
        size = np.abs(np.where(np.isfinite(expected), expected, 0))
        assert_same(loss, expected, unit * (1 + size), titles)
        slope = exact["dlogits"]
        size = np.abs(np.nan_to_num(slope))
        assert_same(gradient, slope, unit * (4 + size) + half_ulp(size, dtype), titles)


FAMILY = [("softmax", p) for p in SOFTMAX] + [("log_softmax", p) for p in LOG_SOFTMAX]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("name", "front_end"),
    [pytest.param(n, *p.values, id=f"{n}-{p.id}", marks=p.marks) for n, p in FAMILY],
)
def test_softmax_family(name: str, front_end: Any, dtype: Any) -> None:
    x, titles = special(dtype), [*SPECIAL_ROWS, "ordinary"]
    dy = np.resize([1.0, -0.5, 0.25], x.shape).astype(dtype)
    y, dx = front_end(x, dy)
    expected = getattr(ref, name)(x)
    with np.errstate(over="ignore"):
        expected = expected.astype(compute_dtype(x)).astype(dtype).astype(np.float64)
    unit = 8 * roundoff(compute_dtype(x), CLASSES)
    size = np.abs(np.where(np.isfinite(expected), expected, 0))
    assert_same(y, expected, unit * (1 + size) + half_ulp(size, dtype), titles)
    slope = getattr(ref, f"{name}_backward")(dy.astype(np.float64), expected)
    if name == "log_softmax":  # beside +inf it may be NaN, or as if that class were alone
        beside = (x == np.inf).any(axis=1, keepdims=True) & np.isnan(np.asarray(dx, np.float64))
        slope = np.where(beside, np.nan, slope)
    bound = unit * 8 + half_ulp(np.nan_to_num(slope), dtype) + 8 * half_ulp(1.0, dtype)
    assert_same(dx, slope, bound, titles)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("front_end", LOGSUMEXP)
def test_logsumexp(front_end: Any, dtype: Any) -> None:
    x, titles = special(dtype), [*SPECIAL_ROWS, "ordinary"]
    y, _ = front_end(x, np.ones(len(x), dtype))
    with np.errstate(over="ignore"):
        expected = ref.logsumexp(x).astype(compute_dtype(x)).astype(dtype).astype(np.float64)
    size = np.abs(np.where(np.isfinite(expected), expected, 0))
    unit = 8 * roundoff(compute_dtype(x), CLASSES)
    assert_same(y, expected, unit * (1 + size) + half_ulp(size, dtype), titles)
