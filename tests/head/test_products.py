"""The head's own matrix products: every level, dtype, layout and size, against float64."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import softstep as ss
from softstep import _core
from tests.support.cases import every_second, far_apart, unaligned

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = [np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16), BFLOAT16]
# Whole tiles and parts of them; depths of one, of several and of parts of a panel.
SHAPES = [(1, 1, 1), (1, 200, 70), (13, 33, 31), (40, 17, 513), (150, 70, 64), (5, 9, 1400)]
# Around the sizes up to which operands of float32 and float64 are read as they lie.
SHAPES += [(4, 260, 300), (30, 40, 1100), (20, 140, 500)]
LAYOUTS = ["rows", "columns", "strided", "backwards", "far rows", "far columns"]


def laid_out(values: Any, layout: str) -> Any:
    if layout == "columns":
        return np.asfortranarray(values)
    if layout == "strided":
        return np.repeat(np.repeat(values, 2, axis=0), 3, axis=1)[::2, ::3]
    if layout == "backwards":
        return np.ascontiguousarray(values[::-1, ::-1])[::-1, ::-1]
    if layout.startswith("far"):
        return far_apart(values, 0 if layout == "far rows" else 1)
    return values


def computed(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)


def assert_product(got: Any, left: Any, right: Any, added: Any = 0.0, unit: float = 0.0) -> None:
    """A sum of n products is exact to (n + 2) eps of the sum of their absolute values.

    `unit` bounds the relative rounding of the products themselves.
    """
    a, b = np.asarray(left, np.float64), np.asarray(right, np.float64)
    eps = np.finfo(got.dtype).eps
    size = np.abs(a) @ np.abs(b) + np.abs(added)
    bound = ((a.shape[1] + 2) * eps + unit) * size
    error = np.abs(got - (a @ b + added))
    assert (error <= bound).all(), (error - bound).max()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_products(product_isa: str, rng: np.random.Generator, dtype: Any, layout: str) -> None:
    for rows, cols, depth in SHAPES:
        a = rng.normal(size=(rows, depth)).astype(dtype)
        b = rng.normal(size=(depth, cols)).astype(dtype)
        bias = rng.normal(size=cols).astype(computed(dtype))
        for left, right in [(laid_out(a, layout), b), (a, laid_out(b, layout))]:
            out = np.full((rows, cols + 3), np.nan, computed(dtype))[:, :cols]
            _core.product(out, left, right, bfloat16=True)
            # float32 may be rounded to bfloat16, each operand by 2^-8.
            assert_product(out, a, b, unit=2.01 * 2.0**-8 if dtype == np.float32 else 0.0)
            _core.product(out, left, right, bias=bias)
            assert_product(out, a, b, bias)
            before = out.copy()
            _core.product(out, left, right, add=True)
            assert_product(out, a, b, before)
            put = out.copy()
            np.copyto(out, before)
            gate = rng.normal(size=(rows, cols + 1)).astype(out.dtype)[:, :cols]
            _core.product(out, left, right, add=True, relu=True, gate=gate)
            np.testing.assert_array_equal(out, np.where(gate > 0, np.maximum(put, 0), 0))
            assert np.isnan(out.base[:, cols:]).all()


@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
def test_bits_do_not_depend_on_how_operands_lie(
    product_isa: str, rng: np.random.Generator, dtype: Any
) -> None:
    """Nor on whether they are packed: rows by their numbers always are."""
    large = [(300, 9, 1100), (9, 300, 1100), (150, 140, 1100), (130, 129, 9000)]
    for rows, cols, depth in [*SHAPES, *large]:
        a, b = rng.normal(size=(rows, depth)).astype(dtype), rng.normal(size=(depth, cols))
        b, bias = b.astype(dtype), rng.normal(size=cols).astype(dtype)
        expected = np.empty((rows, cols), dtype)
        _core.product(expected, a, b, bias=bias, left_rows=np.arange(rows))
        for layout in LAYOUTS:
            for left, right in [(laid_out(a, layout), b), (a, laid_out(b, layout))]:
                out = np.empty_like(expected)
                _core.product(out, left, right, bias=bias)
                assert out.tobytes() == expected.tobytes(), (rows, cols, depth, layout)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_picked_rows(product_isa: str, rng: np.random.Generator, dtype: Any) -> None:
    a = rng.normal(size=(50, 37)).astype(dtype)
    b = rng.normal(size=(60, 29)).astype(dtype)
    rows = np.sort(rng.choice(50, 19, replace=False))
    steps = np.sort(rng.choice(60, 37, replace=False))
    to = np.sort(rng.choice(33, 19, replace=False))
    out = np.zeros((33, 29), computed(dtype))
    # Rows that are not picked may hold anything.
    a[np.setdiff1d(np.arange(50), rows)] = np.nan
    b[np.setdiff1d(np.arange(60), steps)] = np.nan
    options: dict[str, Any] = {"left_rows": rows, "right_rows": steps, "out_rows": to}
    _core.product(out, a, b, **options, bfloat16=dtype == BFLOAT16)
    assert_product(out[to], a[rows], b[steps])
    rest = np.setdiff1d(np.arange(33), to)
    assert not out[rest].any()


@pytest.mark.parametrize("layout", [unaligned, every_second])
def test_row_numbers_of_any_layout(rng: np.random.Generator, layout: Any) -> None:
    """They are read as integers only where they lie as such, or else copied."""
    rows = np.array([4, 0, 9], np.int64)
    left, right = rng.normal(size=(10, 7)), rng.normal(size=(7, 5))
    got, picked = np.empty((3, 5)), np.empty((3, 7))
    _core.product(got, left, right, left_rows=layout(rows))
    assert_product(got, left[rows], right)
    _core.panel_copy(picked, left, layout(rows))
    np.testing.assert_array_equal(picked, left[rows])


def test_mixed_operands(product_isa: str, rng: np.random.Generator) -> None:
    for one in (np.float32, np.float16, BFLOAT16):
        for other in (np.float32, np.float16, BFLOAT16):
            a = rng.normal(size=(21, 40)).astype(one)
            b = rng.normal(size=(40, 35)).astype(other)
            out = np.empty((21, 35), np.float32)
            _core.product(out, a, b)
            assert_product(out, a, b)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3e38])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_special_values(product_isa: str, dtype: Any, value: float) -> None:
    """They reach their row and column, and no other: what fills a panel is 0 on both sides."""
    with np.errstate(all="ignore"):
        a, b = np.ones((14, 5)).astype(dtype), np.ones((5, 37)).astype(dtype)
        a[3, 2] = b[4, 36] = np.asarray(value).astype(dtype)
        out = np.empty((14, 37), computed(dtype))
        _core.product(out, a, b, bfloat16=dtype == BFLOAT16)
        expected = a.astype(computed(dtype)) @ b.astype(computed(dtype))
    np.testing.assert_allclose(out, expected, rtol=1e-6)


def test_relu_keeps_nan_and_a_gate_does_not() -> None:
    a, b = np.ones((1, 1)), np.array([[np.nan, np.inf, -np.inf, -1.0, 2.0]])
    out = np.empty((1, 5))
    _core.product(out, a, b, relu=True)
    np.testing.assert_array_equal(out, [[np.nan, np.inf, 0, 0, 2]])
    _core.product(out, a, b, gate=np.array([[0.0, np.nan, 1.0, 1.0, -1.0]]))
    np.testing.assert_array_equal(out, [[0, 0, -np.inf, -1, 0]])


def test_without_depth_the_product_is_zero_or_the_bias(product_isa: str) -> None:
    for dtype in DTYPES:
        out = np.full((3, 40), np.nan, computed(dtype))
        a, b = np.empty((3, 0), dtype), np.empty((0, 40), dtype)
        _core.product(out, a, b, bfloat16=True)
        assert (out == 0).all()
        _core.product(out, a, b, bias=np.arange(40.0), bfloat16=True)
        assert (out == np.arange(40)).all()
        _core.product(out, a, b, add=True)
        assert (out == np.arange(40)).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_bits_do_not_depend_on_threads(
    product_isa: str, rng: np.random.Generator, dtype: Any
) -> None:
    """Both ways to cut the work, and a depth that is cut."""
    for rows, cols, depth in [(70, 900, 1100), (900, 70, 300), (64, 48, 9000)]:
        a = rng.normal(size=(rows, depth)).astype(dtype)
        b = rng.normal(size=(depth, cols)).astype(dtype)
        results = []
        for n in (1, 2, 3, 7):
            with ss.threads(n):
                out = np.empty((rows, cols), computed(dtype))
                _core.product(out, a, b, bfloat16=dtype == BFLOAT16)
                results.append(out)
        for out in results[1:]:
            assert out.tobytes() == results[0].tobytes()


def test_what_does_not_fit_is_refused_before_anything_is_written() -> None:
    a, b, out = np.ones((3, 4)), np.ones((4, 5)), np.full((3, 5), 7.0)
    refused: list[tuple[Any, Any, dict[str, Any], Any, str]] = [
        (a[:, :3], b, {}, ValueError, "left: expected 4 columns"),
        (a[0], b, {}, ValueError, "left: expected 2 dimensions"),
        (a, b.astype(np.float32), {}, TypeError, "right: expected an array that is computed in"),
        (a, b[:, :4], {}, ValueError, "out: expected shape"),
        (a, b, {"bias": np.ones(4)}, ValueError, "bias"),
        (a, b, {"left_rows": np.array([0, 1, 3])}, IndexError, "left_rows: expected rows in"),
        (a, b, {"right_rows": np.array([0, 1, 2, -1])}, IndexError, "right_rows"),
        (a, b, {"out_rows": np.array([0, 1, 1])}, IndexError, "out_rows: expected increasing"),
        (out, np.ones((5, 5)), {}, ValueError, "out"),
    ]
    for left, right, options, error, message in refused:
        with pytest.raises(error, match=message):
            _core.product(out, left, right, **options)
    for gate, error, message in [
        (np.ones((3, 4)), ValueError, r"gate: expected shape \(3, 5\)"),
        (np.ones((3, 5), np.float32), TypeError, "gate: expected float64, got float32"),
        (np.ones((5, 3)).T, ValueError, "gate: expected rows of adjacent"),
        (out, ValueError, "out.* gate"),
    ]:
        with pytest.raises(error, match=message):
            _core.product(out, a, b, gate=gate)
    with pytest.raises(TypeError, match="out: expected float64"):
        _core.product(out.astype(np.float32), a, b)
    with pytest.raises(ValueError, match="out: expected rows of adjacent"):
        _core.product(np.empty((5, 3)).T, a, b)
    assert (out == 7).all()
