"""The softmax family as NumPy users call it: where=, several axes, scalars, lists, integers."""

from typing import Any

import numpy as np
import pytest

import softstep as ss
from tests import reference as ref
from tests.support.cases import assert_within, compute_dtype, roundoff
from tests.support.cross_entropy_check import half_ulp

FORWARD = ["softmax", "log_softmax", "logsumexp", "entropy"]
BY_CLASS = FORWARD[:2]
DTYPES = [np.float32, np.float64, np.float16]
SHAPES = [(17, 5), (5, 40), (3, 1041), (2, 7, 3), (3, 4, 2, 5)]


def axes_of(ndim: int) -> list[Any]:
    every = [None, -1, 0, (0,), (-1, 0), tuple(range(ndim))]
    return [*every, (1, 2), (2, 0)] if ndim > 2 else every


def limit(x: Any, expected: Any, classes: int) -> Any:
    size = 1 + 4 * np.abs(np.where(np.isfinite(x), x, 0).astype(np.float64)).max(initial=0)
    unit = roundoff(compute_dtype(x), classes)
    finite = np.where(np.isfinite(expected), expected, 0)
    return 4 * unit * size + half_ulp(finite, x.dtype)


def classes_of(x: Any, axis: Any) -> int:
    axes = range(x.ndim) if axis is None else np.atleast_1d(axis)
    return int(np.prod([x.shape[d] for d in axes]))


@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize("dtype", DTYPES)
def test_axes_and_masks(isa: str, rng: np.random.Generator, dtype: Any, name: str) -> None:
    """Masked classes may hold anything; an all-masked row is zeros (of log and lse: -inf)."""
    for shape in SHAPES:
        x = rng.normal(scale=3, size=shape).astype(dtype)
        where = rng.uniform(size=shape) < 0.6
        where[0] = False
        dirty = np.where(where, x, rng.choice([np.nan, np.inf, 6e4], shape)).astype(dtype)
        for axis in axes_of(len(shape)):
            call = getattr(ss, name)
            for mask, given in [(True, x), (where, dirty)]:
                expected = ref.masked(name, x, axis, mask)
                bound = limit(x, expected, classes_of(x, axis))
                options = {"axis": axis} if mask is True else {"axis": axis, "where": mask}
                results = [call(given, **options), call(np.asfortranarray(given), **options)]
                out = np.full(expected.shape, np.nan, dtype)
                results.append(call(given, **options, out=out))
                assert results[-1] is out
                if name in BY_CLASS:
                    same = given.copy()
                    results.append(call(same, **options, out=same))
                    assert results[-1] is same
                else:
                    kept = call(given, **options, keepdims=True)
                    assert kept.shape == np.sum(x, axis=axis, keepdims=True).shape
                    results.append(kept.reshape(expected.shape))
                for result in results:
                    result = np.asarray(result)
                    assert result.dtype == dtype
                    assert_within(result.astype(compute_dtype(x)), expected, bound)


@pytest.mark.parametrize("name", BY_CLASS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_with_masks(isa: str, rng: np.random.Generator, dtype: Any, name: str) -> None:
    """Zero where the mask is false, whatever dy holds there; as if those classes did not exist."""
    for shape in SHAPES:
        x, dy = (rng.normal(size=shape).astype(dtype) for _ in range(2))
        where = rng.uniform(size=shape) < 0.6
        where[0] = False
        dirty = np.where(where, dy, np.nan).astype(dtype)
        for axis in axes_of(len(shape)):
            y = getattr(ss, name)(x, axis=axis, where=where, temperature=2.0)
            axes = tuple(range(x.ndim)) if axis is None else axis
            clean, back = np.where(where, dy, 0), getattr(ref, f"{name}_backward")
            expected = np.where(where, back(clean, y, axis=axes, temperature=2.0), 0)
            classes = classes_of(x, axis)
            bound = 8 * classes**0.5 * limit(dy, expected, classes)
            out = np.full(shape, np.nan, dtype)
            for target in (None, out):
                got = getattr(ss, f"{name}_backward")(
                    dirty, y, axis=axis, where=where, temperature=2.0, out=target
                )
                assert got.dtype == dtype and (target is None or got is out)
                assert_within(got.astype(compute_dtype(x)), expected, bound)
                assert (got[~where] == 0).all()


def test_masks_broadcast(isa: str, rng: np.random.Generator) -> None:
    x = rng.normal(size=(6, 40))
    for where in (rng.uniform(size=40) < 0.5, rng.uniform(size=(6, 1)) < 0.5, np.array(True)):
        for name in FORWARD:
            full = np.broadcast_to(where, x.shape).copy()
            expected = getattr(ss, name)(x, where=full)
            np.testing.assert_array_equal(getattr(ss, name)(x, where=where), expected)
            np.testing.assert_array_equal(getattr(ss, name)(x, where=where.tolist()), expected)
    assert not ss.softmax(x, where=False).any()
    assert (ss.logsumexp(x, where=False) == -np.inf).all()
    assert not ss.entropy(x, where=False).any()
    # A mask and -inf say the same.
    where = rng.uniform(size=x.shape) < 0.5
    where[:, 0] = True
    masked = np.where(where, x, -np.inf)
    for name in FORWARD:
        expected = getattr(ss, name)(masked)
        np.testing.assert_array_equal(getattr(ss, name)(x, where=where), expected)


def test_scalars_lists_and_integers() -> None:
    for name in FORWARD:
        call = getattr(ss, name)
        for axis in (-1, None, ()):
            assert call(3, axis=axis) == call(np.float32(3), axis=axis) == call([3.0])
            assert np.shape(call(3.0, axis=axis)) == ()
        wide = call(np.array([[1.0, 2, 3], [3, 1, 1]]))
        assert wide.dtype == np.float64
        for integers in ([[1, 2, 3], [3, 1, 1]], ((1, 2, 3), (3, 1, 1))):
            np.testing.assert_array_equal(call(integers), wide)
            for integer in ("int8", "uint64", ">i2"):
                np.testing.assert_array_equal(call(np.array(integers, integer)), wide)
        mask = np.array([[True, False, True], [False, True, True]])
        expected = call(np.array([[1.0, 2, 3], [3, 1, 1]]), axis=None, where=mask)
        np.testing.assert_array_equal(call(integers, axis=None, where=mask), expected)
        bools = call(np.array([True, False]), axis=None)
        np.testing.assert_array_equal(bools, call(np.array([1.0, 0]), axis=None))
        np.testing.assert_array_equal(
            call(np.ones((2, 3)), axis=np.int64(1)), call(np.ones((2, 3)))
        )


def test_empty_axes(rng: np.random.Generator) -> None:
    x = rng.normal(size=(3, 4))
    np.testing.assert_array_equal(ss.logsumexp(x, axis=()), x)
    assert (ss.softmax(x, axis=()) == 1).all()
    for shape in [(0, 3), (3, 0)]:
        nothing = np.empty(shape)
        for axis in (0, 1, (0, 1), None):
            assert ss.softmax(nothing, axis=axis).shape == shape
            expected = np.sum(nothing, axis=axis).shape
            assert np.shape(ss.logsumexp(nothing, axis=axis)) == expected
            for value in np.ravel(ss.logsumexp(nothing, axis=axis)):
                assert value == -np.inf


def test_against_scipy(rng: np.random.Generator) -> None:
    special = pytest.importorskip("scipy.special")
    for shape in SHAPES:
        x = rng.normal(scale=3, size=shape)
        for axis in axes_of(len(shape)):
            bound = limit(x, 0.0, classes_of(x, axis))
            for name in ("softmax", "log_softmax", "logsumexp"):
                expected = np.asarray(getattr(special, name)(x, axis=axis))
                assert_within(getattr(ss, name)(x, axis=axis), expected, bound)
    for value in (3, 3.5, [1, 2], [[1], [2]]):
        for name in ("softmax", "log_softmax", "logsumexp"):
            expected = getattr(special, name)(value, axis=None)
            np.testing.assert_allclose(getattr(ss, name)(value, axis=None), expected, rtol=1e-14)


X = np.zeros((3, 4))
WRONG = [
    ({"where": np.ones(4)}, TypeError, r"^where: expected a boolean array, got float64"),
    ({"where": np.ones((3, 4), int)}, TypeError, r"^where: expected a boolean array, got int64"),
    ({"where": "yes"}, TypeError, r"^where: expected a boolean array, got <U3"),
    ({"where": np.ones(3, bool)}, ValueError, r"^where: expected .*to \(3, 4\), got \(3,\)"),
    ({"where": np.ones((1, 3, 4), bool)}, ValueError, r"^where: .*\(3, 4\), got \(1, 3, 4\)"),
    ({"axis": 2}, ValueError, r"^axis: expected .*got 2"),
    ({"axis": (0, 2)}, ValueError, r"^axis: expected dimensions of an array with 2, got 2"),
    ({"axis": (0, 0)}, ValueError, r"^axis: expected every dimension once, got \(0, 0\)"),
    ({"axis": (1, -1)}, ValueError, r"^axis: expected every dimension once, got \(1, -1\)"),
    ({"axis": 1.5}, TypeError, r"^axis: expected .*got"),
    ({"axis": "0"}, TypeError, r"^axis: expected .*got"),
    ({"axis": (0, 1.5)}, TypeError, r"^axis: expected .*got"),
    ({"axis": None, "temperature": 0.0}, ValueError, r"^temperature: expected .*got 0"),
    ({"axis": None, "out": [0.0]}, TypeError, r"^out: expected a NumPy array, got list"),
    ({"axis": None, "out": np.ones(7)}, ValueError, r"^out: expected shape .*got \(7,\)"),
]


@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize("options, error, message", WRONG)
def test_errors(name: str, options: dict[str, Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        getattr(ss, name)(X, **options)
    if name in BY_CLASS:
        with pytest.raises(error, match=message):
            getattr(ss, f"{name}_backward")(X, X, **options)


def test_an_out_that_does_not_fit_is_not_written() -> None:
    out = np.full((3, 4), 7, np.float32)
    read_only = np.full((3, 4), 7.0)
    read_only.flags.writeable = False
    for options in ({"axis": None}, {"where": True}, {"axis": (0, 1)}):
        with pytest.raises(TypeError, match=r"^out: expected float64, got float32"):
            ss.softmax(X, **options, out=out)
        with pytest.raises(ValueError, match=r"^out: expected a writeable array"):
            ss.log_softmax(X, **options, out=read_only)
        with pytest.raises(ValueError, match=r"^dy: expected shape \(3, 4\), got \(4,\)"):
            ss.softmax_backward(X[0], X, **options)
    assert (out == 7).all() and (read_only == 7).all()
