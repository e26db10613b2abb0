"""A loss near 0 keeps its digits, whatever the kind of target, in every front end and dtype."""

from typing import Any

import numpy as np
import pytest

from tests.conformance.exact import exact
from tests.conformance.front_ends import FRONT_ENDS, Lacks
from tests.conformance.softmax_front_ends import LOG_SOFTMAX, SOFTMAX
from tests.support.cases import compute_dtype, roundoff
from tests.support.cross_entropy_check import half_ulp

ml_dtypes = pytest.importorskip("ml_dtypes")
DTYPES = [np.dtype(d) for d in (np.float32, np.float64, np.float16, ml_dtypes.bfloat16)]

# By how much the target leads, and what beside it: 10 others exactly representable in bfloat16.
LEADS = (5.0, 12.0, 20.0, 32.0, 64.0)
OTHERS = (0.0, 1.0, -2.0, 0.5, -0.25, 1.5, -1.0, 0.75, -8.0, -3.0)


def logits(classes: int, dtype: Any) -> Any:
    x = np.resize(OTHERS, (len(LEADS), classes))
    x[:, classes // 3] = LEADS
    return x.astype(dtype)


def targets(kind: str, classes: int, dtype: Any) -> tuple[dict[str, Any], Any]:
    """The targets of all rows as a front end takes them, and each row's mass on each class."""
    at, count = classes // 3, len(LEADS)
    mass = np.zeros(classes)
    mass[at] = 1
    wide = np.float64 if dtype == np.float64 else np.float32
    if kind == "nearly one hot":
        mass[at], mass[at - 1] = 1 - 2.0**-7, 2.0**-7
    if kind == "class":
        return {"target": np.full(count, at)}, mass
    if kind == "one point":
        q = {"target_probabilities": np.ones((count, 1), wide)}
        return {"target": np.full((count, 1), at), **q}, mass
    if kind == "points":  # a class twice, one without mass
        q = {"target_probabilities": np.tile(np.array([0.25, 0, 0.75], wide), (count, 1))}
        return {"target": np.tile([at, at - 1, at], (count, 1)), **q}, mass
    return {"target": np.tile(mass.astype(wide if "computed" in kind else dtype), (count, 1))}, mass


KINDS = ("class", "one hot", "one hot, computed", "one point", "points", "nearly one hot")
OPTIONS: list[dict[str, Any]] = [
    {},
    {"weight": True},
    {"temperature": 0.5},
    {"softcap": 40.0},
    {"label_smoothing": 2.0**-6},
    {"gamma": 2.0},
    {"z_loss": 2.0**-10},
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_every_kind_of_target(front_end: Any, kind: str, dtype: Any) -> None:
    for number, classes in enumerate((3, 10, 41, 130)):
        for options in OPTIONS[:: 1 if number == 0 else 3]:
            if "gamma" in options and kind != "class":
                continue
            try:
                check(front_end, kind, dtype, classes, dict(options))
            except Lacks as lack:
                pytest.skip(str(lack))


def check(front_end: Any, kind: str, dtype: Any, classes: int, options: dict[str, Any]) -> None:
    x = logits(classes, dtype)
    arguments, mass = targets(kind, classes, dtype)
    computed = compute_dtype(x)
    if "weight" in options:
        options["weight"] = (1 + np.arange(classes) % 3).astype(computed)
    losses, gradients = front_end(x, **arguments, **options)
    tiny = float(np.finfo(computed).tiny)
    top = classes // 3
    for lead, row, loss, gradient in zip(LEADS, x, losses, gradients, strict=True):
        title = f"{classes} classes, lead {lead}, {options}"
        expected, slope = exact(row, mass, **options)
        # An exponential is exact to the distance from the maximum; a softcap rounds first.
        reach = (lead + 10) / options.get("temperature", 1.0)
        unit = roundoff(computed, classes) * (1 + reach) * (1 + options.get("gamma", 0.0))
        unit *= 1 + 2 * ("softcap" in options)
        # With smoothing or a z-loss neither the loss nor the gradient is near 0 any more.
        flat = options.get("label_smoothing", 0.0) + 2 * reach * options.get("z_loss", 0.0)
        assert abs(float(loss) - expected) <= unit * (expected + flat * reach) + tiny, title
        size = np.abs(slope)
        if kind == "nearly one hot" or flat:  # the difference of what is rounded
            away = 3 * (1 - mass[top] + flat)
            size = size + 3 * (flat + np.where(np.arange(classes) == top, away, mass))
        bound = unit * size + 4 * tiny + half_ulp(slope, dtype)
        error = np.abs(gradient.astype(np.float64) - slope)
        assert (error <= bound).all(), f"{title}: {np.flatnonzero(error > bound)}: {gradient}"


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", ["class", "one hot", "one point"])
@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_a_single_class_is_certain(front_end: Any, kind: str, dtype: Any) -> None:
    """Nothing can be learned of it: the gradient is 0, whatever the mass."""
    wide = np.float64 if dtype == np.float64 else np.float32
    arguments = {
        "class": {"target": np.zeros(3, int)},
        "one hot": {"target": np.array([[0.37], [1.0], [2.0]]).astype(dtype)},
        "one point": {
            "target": np.zeros((3, 1), int),
            "target_probabilities": np.array([[0.37], [1.0], [2.0]], wide),
        },
    }[kind]
    x = np.array([[3.0], [-700.0], [0.1]]).astype(dtype)
    try:
        loss, gradient = front_end(
            x, **arguments, sample_weight=np.array([0.7, 1.0, 3.0], wide), weight=np.ones(1, wide)
        )
    except Lacks as lack:
        pytest.skip(str(lack))
    assert not loss.any() and not gradient.astype(np.float64).any()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("front_end", LOG_SOFTMAX)
def test_the_largest_log_probability(front_end: Any, dtype: Any) -> None:
    """It is -log1p of the others; its gradient is dy (1 - p) less p times the others' dy."""
    for classes in (2, 3, 10, 41, 130, 1041):
        x = np.repeat(logits(classes, dtype), 2, axis=0)
        top = classes // 3
        dy = np.zeros(x.shape)
        dy[:, top] = 1
        dy[1::2, top - 1] = 2.0**-6
        y, dx = front_end(x, dy.astype(dtype))
        y, dx = y.astype(np.float64), dx.astype(np.float64)
        lead = np.repeat(LEADS, 2)
        others = np.exp(np.delete(x.astype(np.float64), top, axis=1) - lead[:, None]).sum(axis=1)
        computed = compute_dtype(x)
        unit = roundoff(computed, classes) * (1 + lead + 10)
        tiny = float(np.finfo(computed).tiny)
        value = -np.log1p(others)
        bound = unit * np.abs(value) + tiny + half_ulp(value, dtype)
        assert (np.abs(y[:, top] - value) <= bound).all(), classes
        # A backward has the log-probabilities as they are stored, or as they were.
        outside = []
        for log_p in (y[:, top], value):
            rest = -np.expm1(log_p)
            slope = rest - np.exp(log_p) * (dy.sum(axis=1) - 1)
            bound = unit * (rest + dy[:, top - 1]) + tiny + half_ulp(slope, dtype)
            outside.append(np.abs(dx[:, top] - slope) > bound)
        assert not np.all(outside, axis=0).any(), classes


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("front_end", SOFTMAX)
def test_the_gradient_of_the_largest_probability(front_end: Any, dtype: Any) -> None:
    """It is p times the others' p (dy - their dy): not 0 where p is rounded to 1."""
    for classes in (2, 3, 10, 41, 130, 1041):
        x = np.repeat(logits(classes, dtype), 2, axis=0)
        top = classes // 3
        dy = np.zeros(x.shape)
        dy[:, top] = 1
        dy[1::2, top - 1] = 2.0**-6
        _, dx = front_end(x, dy.astype(dtype))
        lead = np.repeat(LEADS, 2)
        e = np.exp(x.astype(np.float64) - lead[:, None])
        p = e / e.sum(axis=1, keepdims=True)
        products = p * (dy[:, [top]] - dy)
        slope = p[:, top] * products.sum(axis=1)
        computed = compute_dtype(x)
        unit = roundoff(computed, classes) * (1 + lead + 10)
        # The backward has the probabilities as they are stored: above 15/16 those of the others.
        stored = half_ulp(p, dtype) + np.zeros(p.shape)
        lost = np.delete(stored, top, axis=1).sum(axis=1)
        lost = np.where(p[:, top] > 0.94, np.minimum(lost, 3 * stored[:, top]), stored[:, top])
        bound = unit * np.abs(products).sum(axis=1) + lost + half_ulp(slope, dtype)
        error = np.abs(dx.astype(np.float64)[:, top] - slope)
        assert (error <= bound + float(np.finfo(computed).tiny)).all(), classes
