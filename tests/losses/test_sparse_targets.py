"""Sparse soft targets: K classes and their probabilities for each row, as the dense ones."""

from typing import Any

import numpy as np
import pytest

import softstep as ss
from tests.reference.cross_entropy import cross_entropy_results, one_hot
from tests.support.cases import DTYPES, assert_within, compute_dtype
from tests.support.cross_entropy_check import bounds, check, half_ulp

# One row per lane, classes along the lanes, several blocks, classes first and between.
SHAPES = [((17, 5), 1), ((9, 33), 1), ((3, 1041), 1), ((10, 33), 0), ((2, 7, 3, 5), 1), ((6,), 0)]


def sparse(rng: Any, shape: tuple[int, ...], axis: int, k: int, dtype: Any) -> tuple[Any, Any]:
    batch = tuple(np.delete(shape, axis))
    scores = rng.uniform(size=(*batch, shape[axis]))
    index = np.argsort(-scores, axis=-1)[..., :k]
    return index, rng.uniform(size=index.shape).astype(dtype)


def dense(index: Any, q: Any, classes: int, axis: int, ignored: int = -100) -> Any:
    at = one_hot(index, index != ignored, classes)
    return np.moveaxis((q[..., None].astype(np.float64) * at).sum(axis=-2), -1, axis)


@pytest.mark.parametrize("dtype", [*DTYPES, np.float16])
@pytest.mark.parametrize("shape, axis", SHAPES)
def test_as_dense(
    isa: str, rng: np.random.Generator, shape: tuple[int, ...], axis: int, dtype: Any
) -> None:
    """K from 1 to C; also the gradient of each probability is that of the dense target."""
    x = rng.normal(scale=3, size=shape).astype(dtype)
    classes = shape[axis]
    for k in sorted({1, 2, min(classes, 20), classes if classes < 100 else 40}):
        index, q = sparse(rng, shape, axis, k, compute_dtype(x))
        full = dense(index, q, classes, axis).astype(compute_dtype(x))
        for options in ({}, {"label_smoothing": 0.2, "softcap": 5.0, "temperature": 0.5}):
            call = {"axis": axis, "reduction": "sum", **options}
            wanted = {"target_probabilities": q, **call}
            check(x, index, **wanted)
            loss, gradient = ss.cross_entropy_with_grad(x, index, **wanted)
            same, slope = ss.cross_entropy_with_grad(x, full, **call)
            exact = cross_entropy_results(x, full, **call)
            limit = bounds(x, full, call, exact)
            assert_within(loss, same, 2 * limit["loss"], compute_dtype(x))
            limit = 2 * (limit["dlogits"] + half_ulp(exact["dlogits"], x.dtype))
            assert_within(gradient.astype(compute_dtype(x)), slope.astype(np.float64), limit)


@pytest.mark.parametrize("classes", [5, 40])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_class_given_twice_counts_twice(
    isa: str, rng: np.random.Generator, dtype: Any, classes: int
) -> None:
    x = rng.normal(size=(6, classes)).astype(dtype)
    index = rng.integers(0, 2, (6, 7))  # mostly duplicates, and more points than some classes
    q = rng.uniform(size=(6, 7)).astype(dtype)
    for smoothing in (0.0, 0.3):
        check(x, index, target_probabilities=q, reduction="none", label_smoothing=smoothing)
    every_class = np.tile(np.arange(classes), (6, 2))
    q = rng.uniform(size=every_class.shape).astype(dtype)
    check(x, every_class, target_probabilities=q)


@pytest.mark.parametrize("classes", [5, 40])
@pytest.mark.parametrize("ignored", [-100, -1, 3, 10**12])
def test_ignored_classes_and_rows(
    isa: str, rng: np.random.Generator, classes: int, ignored: int
) -> None:
    """An ignored entry adds nothing; a row of nothing else is ignored, whatever its logits hold."""
    x = rng.normal(size=(6, classes)).astype(np.float32)
    index = rng.integers(0, 3, (6, 4))
    index[:, 1] = ignored
    index[[2, 5]] = ignored
    q = rng.uniform(size=index.shape).astype(np.float32)
    q[:, 1] = np.nan  # not even these
    q[[2, 5]] = np.nan
    clean = np.where(index == ignored, 0, q)
    for reduction in ("none", "sum", "mean"):
        options = {"ignore_index": ignored, "reduction": reduction, "z_loss": 0.01}
        options |= {"label_smoothing": 0.1, "weight": rng.uniform(size=classes).astype("f4")}
        check(x, index, target_probabilities=clean, **options)
        expected = ss.cross_entropy_with_grad(x, index, target_probabilities=clean, **options)
        dirty = x.copy()
        dirty[2], dirty[5, ::2] = np.nan, np.inf
        loss, gradient, extra = ss.cross_entropy_with_grad(
            dirty, index, target_probabilities=q, extra=("dtarget", "dweight", "lse"), **options
        )
        np.testing.assert_array_equal(loss, expected[0])
        np.testing.assert_array_equal(gradient, expected[1])
        assert not gradient[[2, 5]].any()
        assert not extra["dtarget"][index == ignored].any()
        assert np.isfinite(extra["dweight"]).all() and (extra["lse"][[2, 5]] == 0).all()


def test_only_ignored_rows(isa: str) -> None:
    x, index, q = np.full((3, 4), np.nan), np.full((3, 2), -100), np.ones((3, 2))
    for empty, expected in [("nan", np.nan), ("zero", 0.0)]:
        call = {"target_probabilities": q, "empty": empty, "extra": ("dtarget", "dweight")}
        loss, gradient, extra = ss.cross_entropy_with_grad(x, index, **call)
        np.testing.assert_equal(loss, expected)
        assert not gradient.any() and not extra["dtarget"].any() and not extra["dweight"].any()
    with pytest.raises(ValueError, match="mean"):
        ss.cross_entropy(x, index, target_probabilities=q, empty="raise")
    assert ss.cross_entropy(x, index, target_probabilities=q, reduction="sum") == 0


@pytest.mark.parametrize("classes", [4, 40])
def test_mass_0_at_a_class_of_minus_infinity(isa: str, classes: int) -> None:
    """0 log 0 = 0, and no smoothing where no class is allowed."""
    x = np.zeros((2, classes))
    x[:, 0] = -np.inf
    index, q = np.array([[0, 1], [1, 0]]), np.array([[0.0, 1], [0.5, 0]])
    check(x, index, target_probabilities=q, reduction="none")
    for smoothing in (0.5, 1.0):
        options = {"label_smoothing": smoothing, "smoothing": "allowed", "reduction": "none"}
        check(x, index, target_probabilities=q, **options)
        check(x, index[:, ::-1].copy(), target_probabilities=q[:, ::-1].copy(), **options)


@pytest.mark.parametrize("classes", [10, 1100])
def test_1024_classes_at_most(isa: str, rng: np.random.Generator, classes: int) -> None:
    x = rng.normal(size=(2, classes))
    index = rng.integers(0, classes, (2, 1024))
    q = rng.uniform(size=(2, 1024)) / 1024
    check(x, index, target_probabilities=q)
    wider = np.zeros((2, 1025), int)
    message = r"^target: expected \(2,\) and a last axis of 1 to 1024 classes, got \(2, 1025\)"
    with pytest.raises(ValueError, match=message):
        ss.cross_entropy(x, wider, target_probabilities=np.ones((2, 1025)))


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda a: a[::-1].copy()[::-1]])
def test_any_layout_and_integer(isa: str, rng: np.random.Generator, layout: Any) -> None:
    x = rng.normal(size=(6, 35))
    index, q = sparse(rng, x.shape, 1, 4, np.float64)
    expected = ss.cross_entropy(x, index, target_probabilities=q)
    for integer in ("int8", "uint16", "int32", ">i8"):
        given = layout(index.astype(integer))
        loss = ss.cross_entropy(x, given, target_probabilities=layout(q))
        assert loss == expected
        loss = ss.cross_entropy(x, given.tolist(), target_probabilities=q.tolist())
        assert loss == expected


X, INDEX, Q = np.zeros((3, 4)), np.zeros((3, 2), int), np.ones((3, 2))
BAD = np.array([[0, 1], [2, 4], [-1, 0]])
WRONG = [
    (INDEX, np.ones((3, 3)), {}, ValueError, r"^target_probabilities: .*\(3, 2\), got \(3, 3\)"),
    (
        INDEX,
        np.ones(3),
        {},
        ValueError,
        r"^target_probabilities: expected shape \(3, 2\), got \(3,",
    ),
    (INDEX, Q + 0j, {}, TypeError, r"^target_probabilities: expected float16.*got complex128"),
    (INDEX, "none", {}, TypeError, r"^target_probabilities: expected .*got "),
    (Q, Q, {}, TypeError, r"^target: with target_probabilities it holds class indices, got float"),
    (INDEX[0], Q[0], {}, ValueError, r"^target: expected \(3,\) and a last axis .*got \(2,\)"),
    (INDEX[:, :0], Q[:, :0], {}, ValueError, r"^target: .*1 to 1024 classes, got \(3, 0\)"),
    (BAD, Q, {}, IndexError, r"^target: row \(1, 1\) has the value 4, expected .*\[0, 4\)"),
    (BAD, Q, {"ignore_index": 4}, IndexError, r"^target: row \(2, 0\) has the value -1"),
    (INDEX, Q, {"smoothing": "exclude_target"}, ValueError, r"^smoothing: .*needs class targets"),
    (INDEX, Q, {"extra": ("correct",)}, ValueError, r"^extra: 'correct' needs class targets"),
]


@pytest.mark.parametrize("target, q, options, error, message", WRONG)
def test_errors(target: Any, q: Any, options: Any, error: Any, message: str) -> None:
    out = np.full((3, 4), 7.0)
    call = {"target_probabilities": q, **options}
    with pytest.raises(error, match=message):
        ss.cross_entropy_with_grad(X, target, out=out, **call)
    with pytest.raises(error, match=message):
        ss.cross_entropy(X, target, **call)
    assert (out == 7).all()


@pytest.mark.parametrize("masses", ["any", "nearly those of the softmax"])
def test_the_published_error_of_the_gradient(isa: str, masses: str) -> None:
    """Relative to ``M p + m``: of ``M p - m`` no digit may be left. In 80 bits, where there are."""
    rng = np.random.default_rng(14)
    for classes in (3, 10, 41, 130):
        for points in (1, 2, 4):
            x = rng.normal(size=(300, classes)) * rng.choice([0.1, 1, 5, 20], size=(300, 1))
            index = rng.integers(0, classes, (300, points))
            u = x.astype(np.longdouble) - x.max(axis=1, keepdims=True)
            p = np.exp(u) / np.exp(u).sum(axis=1, keepdims=True)
            q = rng.uniform(size=index.shape)
            if masses != "any":
                q = np.take_along_axis(p, index, 1).astype(np.float64)
            mass = np.zeros_like(p)
            for k in range(points):
                mass[np.arange(300), index[:, k]] += q[:, k]
            whole = mass.sum(axis=1, keepdims=True)
            _, gradient = ss.cross_entropy_with_grad(
                x, index, target_probabilities=q, reduction="sum"
            )
            error = np.abs(gradient - (whole * p - mass))
            bound = (np.abs(u) / 2 + 8) * np.finfo(float).eps * (whole * p + mass)
            assert (error <= bound).all(), float((error / bound).max())
