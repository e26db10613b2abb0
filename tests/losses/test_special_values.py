"""Infinities, NaN and the largest numbers, at every lane position, in both kernel shapes.

The reference states what is expected: docs and tests follow the same table. All other rows of the
array must be bit for bit what they are without the special row.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import softstep as ss
from tests import reference as ref
from tests.support.cases import DTYPES, assert_within, roundoff
from tests.support.special_rows import SPECIAL_ROWS

CLASSES = [1, 2, 3, 4, 5, 8, 9, 10, 15, 16, 17, 33, 64, 129, 2050]  # 2050: a row in two blocks
ROWS = 19
INF, NAN = np.inf, np.nan

FORWARD = ["softmax", "log_softmax", "logsumexp", "entropy"]


def arrays(case: str, dtype: Any) -> Iterator[tuple[Any, Any, Any, Any, int]]:
    """(ordinary array, the same with special rows, their numbers, their positions, axis)."""
    fill, value = SPECIAL_ROWS[case]
    largest = np.finfo(dtype).max / np.finfo(np.float32).max
    fill, value = (v * largest if v is not None and abs(v) == 3e38 else v for v in (fill, value))
    for classes in CLASSES:
        at = [p for p in (0, 1, 3, 7, 8, 15, 16, classes // 2, classes - 1) if p < classes]
        rows = 2 * np.arange(len(at))  # every other row is ordinary
        ordinary = np.linspace(-3, 3, ROWS * classes).reshape(ROWS, classes) % 1.7
        ordinary = ordinary.astype(dtype)
        special = ordinary.copy()
        if fill is not None:
            special[rows] = fill
        special[rows, at] = value
        yield ordinary, special, rows, np.array(at), 1
        yield ordinary.T.copy(), special.T.copy(), rows, np.array(at), 0


def same_elsewhere(actual: Any, clean: Any, rows: Any, axis: int) -> None:
    actual, clean = (np.moveaxis(a, axis, 1) if a.ndim == 2 else a for a in (actual, clean))
    np.testing.assert_array_equal(np.delete(actual, rows, 0), np.delete(clean, rows, 0))


def magnitude(expected: Any) -> Any:
    return np.where(np.isfinite(expected), np.abs(expected), 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", SPECIAL_ROWS)
def test_softmax_family(isa: str, case: str, dtype: Any) -> None:
    for ordinary, special, rows, _, axis in arrays(case, dtype):
        unit = roundoff(dtype, special.shape[axis])
        for name in FORWARD:
            function = getattr(ss, name)
            actual, clean = function(special, axis=axis), function(ordinary, axis=axis)
            expected = getattr(ref, name)(special, axis=axis)
            assert_within(actual, expected, unit * (2 + magnitude(expected)))
            same_elsewhere(actual, clean, rows, axis)


@pytest.mark.parametrize("temperature", [0.5, 3.0])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ["huge among very negative", "all huge", "one -inf", "all -inf"])
def test_softmax_with_temperature(isa: str, case: str, dtype: Any, temperature: float) -> None:
    """The row's maximum is subtracted before the division, which would overflow."""
    for _, special, _, _, axis in arrays(case, dtype):
        actual = ss.softmax(special, axis=axis, temperature=temperature)
        wide = special.astype(np.longdouble) / np.longdouble(temperature)
        with np.errstate(invalid="ignore"):
            e = np.exp(wide - wide.max(axis=axis, keepdims=True))
        expected = e / e.sum(axis=axis, keepdims=True)
        assert_within(actual, expected, roundoff(dtype, special.shape[axis]) * 3)


def check_cross_entropy(ordinary: Any, special: Any, target: Any, rows: Any, axis: int) -> None:
    unit = roundoff(special.dtype, special.shape[axis])
    options = {"axis": axis, "reduction": "none"}
    losses, gradient = ss.cross_entropy_with_grad(special, target, **options)
    expected, slope = ref.cross_entropy_with_grad(special, target, **options)
    if target.shape == special.shape:
        # As in PyTorch: q (max - x) is infinite where max - x is, even if the product is not.
        wide = np.nan_to_num(special.astype(np.float64), posinf=0, neginf=0)
        overflown = np.ptp(wide / 2, axis=axis) > np.finfo(special.dtype).max / 2
        expected = np.where(overflown, np.inf, expected)
    assert_within(losses, expected, 2 * unit * (1 + magnitude(expected)))
    assert_within(gradient, slope, unit * 2)
    clean_losses, clean = ss.cross_entropy_with_grad(ordinary, target, **options)
    same_elsewhere(losses, clean_losses, rows, axis)
    same_elsewhere(gradient, clean, rows, axis)
    if not np.isfinite(expected).all():
        mean = ss.cross_entropy(special, target, axis=axis)
        assert np.isnan(mean) if np.isnan(expected).any() else mean == np.inf


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", SPECIAL_ROWS)
def test_cross_entropy_of_class_indices(isa: str, case: str, dtype: Any) -> None:
    for ordinary, special, rows, at, axis in arrays(case, dtype):
        for shift in (0, 1):
            target = np.zeros(ROWS, int)
            target[rows] = (at + shift) % special.shape[axis]
            check_cross_entropy(ordinary, special, target, rows, axis)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", SPECIAL_ROWS)
def test_cross_entropy_of_probabilities(isa: str, case: str, dtype: Any) -> None:
    """A class of probability 0 adds 0 to the loss, also where its logit is -inf: 0 log 0 = 0."""
    for ordinary, special, rows, at, axis in arrays(case, dtype):
        classes = special.shape[axis]
        for own in (0.0, 0.25):
            target = np.full((ROWS, classes), 0.5 / classes, dtype)
            target[rows, at] = own
            target = target if axis else target.T.copy()
            check_cross_entropy(ordinary, special, target, rows, axis)


@pytest.mark.parametrize("dtype", DTYPES)
def test_smoothing_over_an_impossible_class_is_infinitely_wrong(isa: str, dtype: Any) -> None:
    for _, special, rows, at, axis in arrays("one -inf", dtype):
        classes = special.shape[axis]
        if classes == 1:
            continue
        target = np.zeros(ROWS, int)
        target[rows] = (at + 1) % classes
        options = {"axis": axis, "reduction": "none", "label_smoothing": 0.1}
        losses, gradient = ss.cross_entropy_with_grad(special, target, **options)
        assert (losses[rows] == np.inf).all() and np.isfinite(np.delete(losses, rows)).all()
        _, slope = ref.cross_entropy_with_grad(special, target, **options)
        assert_within(gradient, slope, roundoff(dtype, classes) * 2)


def test_the_table_by_hand(isa: str) -> None:
    """Independent of the reference: the rows that people look up."""
    x = np.array([[-INF, -INF], [INF, 0], [NAN, 0], [0, -INF], [3e38, -3e38]], np.float32)
    np.testing.assert_array_equal(ss.softmax(x), [[NAN] * 2, [NAN] * 2, [NAN] * 2, [1, 0], [1, 0]])
    expected = [[NAN] * 2, [NAN, -INF], [NAN] * 2, [0, -INF], [0, -INF]]
    np.testing.assert_array_equal(ss.log_softmax(x), expected)
    np.testing.assert_array_equal(ss.logsumexp(x), np.float32([-INF, INF, NAN, 0, 3e38]))
    np.testing.assert_array_equal(ss.entropy(x), [NAN, NAN, NAN, 0, 0])
    options = {"reduction": "none"}
    losses, gradient = ss.cross_entropy_with_grad(x, np.ones(5, int), **options)
    np.testing.assert_array_equal(losses, [NAN, INF, NAN, INF, INF])
    np.testing.assert_array_equal(gradient, [[NAN] * 2, [NAN] * 2, [NAN] * 2, [1, -1], [1, -1]])
    losses, gradient = ss.cross_entropy_with_grad(x, np.zeros(5, int), **options)
    np.testing.assert_array_equal(losses, [NAN, NAN, NAN, 0, 0])
    np.testing.assert_array_equal(gradient, [[NAN] * 2, [NAN] * 2, [NAN] * 2, [0, 0], [0, 0]])
    certain = np.array([[1, 0]], np.float32)
    loss, gradient = ss.cross_entropy_with_grad(np.array([[0, -INF]], np.float32), certain)
    assert loss == 0 and gradient.tolist() == [[0, 0]]
