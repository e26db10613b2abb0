"""Where arrays lie: strides, alignment, byte order, read-only inputs, and what `out=` may be."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import softstep as ss
from softstep.training.memory import with_peak
from tests import reference as ref
from tests.support.cases import (
    DTYPES,
    LAYOUTS,
    assert_within,
    backwards,
    compute_dtype,
    read_only,
    roundoff,
)

ROWS, CLASSES = 13, 21
INDEX = np.arange(ROWS) * 5 % CLASSES
BINARY = np.where(np.arange(ROWS * CLASSES).reshape(ROWS, CLASSES) % 3 == 0, 1, -1)


def same(x: Any) -> Any:
    return x


# name: (module, x, layout of the other inputs, options) -> result or (loss, gradient)
Call = Callable[..., Any]
CALLS: dict[str, Call] = {
    name: lambda m, x, lay=same, name=name, **o: getattr(m, name)(x, **o)
    for name in ("softmax", "log_softmax", "logsumexp", "entropy")
}
CALLS |= {
    name: lambda m, x, lay=same, name=name, **o: getattr(m, name)(x, lay(x[::-1] / 8), **o)
    for name in ("softmax_backward", "log_softmax_backward")
}


def probabilities(m: ModuleType, x: Any, lay: Call = same, **o: Any) -> Any:
    return m.cross_entropy_with_grad(x, lay(np.abs(x[::-1])), reduction="none", **o)


def class_indices(m: ModuleType, x: Any, lay: Call = same, **o: Any) -> Any:
    weight = lay(np.linspace(0.5, 1, CLASSES).astype(x.dtype))
    sample_weight = lay(np.linspace(0.5, 1, ROWS).astype(x.dtype))
    o |= {"weight": weight, "sample_weight": sample_weight}
    return m.cross_entropy_with_grad(x, lay(INDEX), reduction="none", **o)


CALLS |= {
    "cross_entropy": class_indices,
    "cross_entropy of probabilities": probabilities,
    "squared_error": lambda m, x, lay=same, **o: m.squared_error_with_grad(x, lay(x[::-1]), **o),
    "hinge": lambda m, x, lay=same, **o: m.hinge_with_grad(x, lay(BINARY), **o),
    "hinge of classes": lambda m, x, lay=same, **o: m.hinge_with_grad(x, lay(INDEX), **o),
}
WITH_OUT = [name for name in CALLS if name not in ("logsumexp", "entropy")]


def grid(dtype: Any) -> Any:
    """Multiples of 1/8: hinge's kinks and rounding do not meet."""
    return (np.arange(ROWS * CLASSES).reshape(ROWS, CLASSES) * 7 % 41 / 8 - 2).astype(dtype)


def parts(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


def check(actual: Any, expected: Any, dtype: Any) -> None:
    for a, e in zip(parts(actual), parts(expected), strict=True):
        assert_within(a, e, 4 * roundoff(dtype, CLASSES) * (1 + np.abs(e)), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", CALLS)
def test_inputs_of_any_layout(isa: str, name: str, layout: str, dtype: Any) -> None:
    x, lay = grid(dtype), LAYOUTS[layout]
    given = lay(x)
    check(CALLS[name](ss, given, lay), CALLS[name](ref, x), dtype)
    np.testing.assert_array_equal(given, x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CALLS)
def test_read_only_and_broadcast_inputs(isa: str, name: str, dtype: Any) -> None:
    x = grid(dtype)
    check(CALLS[name](ss, read_only(x), read_only), CALLS[name](ref, x), dtype)
    one_row, one_column = np.broadcast_to(x[0], x.shape), np.broadcast_to(x[:, :1], x.shape)
    for repeated in (one_row, one_column):
        check(CALLS[name](ss, repeated), CALLS[name](ref, repeated.copy()), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", WITH_OUT)
def test_out_of_any_layout(isa: str, name: str, layout: str, dtype: Any) -> None:
    x, lay = grid(dtype), LAYOUTS[layout]
    expected = CALLS[name](ref, x)
    out = lay(np.zeros_like(x))
    if layout == "unaligned":
        with pytest.raises(ValueError, match=r"^out: expected an aligned array"):
            CALLS[name](ss, x, out=out)
        assert not out.any()
        return
    result = parts(CALLS[name](ss, x, out=out))
    assert result[-1] is out
    check(result, expected, dtype)
    if layout in ("every_second", "padded_rows"):
        assert np.isnan(out.base).sum() == out.base.size - out.size, "wrote between the elements"
    in_place = lay(x)
    check(CALLS[name](ss, in_place, np.copy, out=in_place), expected, dtype)


@pytest.mark.parametrize("name", ["logsumexp", "entropy"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_out_of_a_reduction(isa: str, name: str, dtype: Any) -> None:
    x, function = grid(dtype), getattr(ss, name)
    for lay in (LAYOUTS[layout] for layout in LAYOUTS if layout != "unaligned"):
        for axis, keepdims in [(0, False), (1, False), (1, True)]:
            expected = function(x, axis=axis, keepdims=keepdims)
            out = lay(np.zeros_like(expected))
            assert function(x, axis=axis, keepdims=keepdims, out=out) is out
            np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_alignment_does_not_change_a_bit(isa: str, dtype: Any) -> None:
    for classes in (10, 33, 129):
        x = grid(dtype)[:, :1] * np.linspace(0, 1, classes).astype(dtype)
        expected = {name: getattr(ss, name)(x) for name in ("softmax", "logsumexp")}
        for offset in range(64):
            buffer = np.zeros(x.nbytes + 64, np.uint8)
            moved = np.frombuffer(buffer.data, dtype, x.size, offset=offset).reshape(x.shape)
            moved[...] = x
            for name, value in expected.items():
                np.testing.assert_array_equal(getattr(ss, name)(moved), value)


@pytest.mark.parametrize("layout", ["contiguous", "backwards", "every_second"])
def test_three_dimensions_of_any_layout(isa: str, rng: np.random.Generator, layout: str) -> None:
    x = rng.normal(size=(4, 5, 6)).astype(np.float32)
    lay = LAYOUTS[layout]
    for axes in [(0, 1, 2), (2, 0, 1), (1, 2, 0), (2, 1, 0), (1, 0, 2)]:
        moved = lay(x).transpose(axes)
        for axis in range(3):
            out = lay(np.zeros_like(x)).transpose(axes)
            assert ss.softmax(moved, axis=axis, out=out) is out
            assert_within(out, ref.softmax(moved, axis=axis), 2 * roundoff(np.float32))
            lse = ss.logsumexp(moved, axis=axis)
            assert_within(lse, ref.logsumexp(moved, axis=axis), 4 * roundoff(np.float32))


@pytest.mark.parametrize("dtype", [*DTYPES, np.float16])
@pytest.mark.parametrize("pixels", [1, 2, 7, 15, 16, 17, 33])
def test_planes_of_few_pixels(isa: str, pixels: int, dtype: Any) -> None:
    for classes in (33, 150, 1041):
        rng = np.random.default_rng(classes)
        x = rng.normal(size=(2, classes, pixels)).astype(dtype)
        target = rng.integers(classes, size=(2, pixels))
        names = ("softmax", "log_softmax", "logsumexp", "entropy")
        for name, more in [(n, ()) for n in names] + [("cross_entropy_with_grad", (target,))]:
            actual = getattr(ss, name)(x, *more, axis=1)
            expected = getattr(ref, name)(x.astype(np.float64), *more, axis=1)
            for a, e in zip(parts(actual), parts(expected), strict=True):
                unit = 4 * roundoff(compute_dtype(x), classes)
                if np.asarray(a).dtype == np.float16:  # rounded once more
                    unit += float(np.finfo(np.float16).eps)
                assert_within(a, e, unit * (1 + np.abs(e)), dtype)


def test_a_column_takes_no_more_than_its_copy() -> None:
    column = np.ones((400_000, 3), np.float32)[:, :1]
    for call in (lambda: ss.logsumexp(column, axis=0), lambda: ss.cross_entropy(column.T, [3])):
        call()
        _, peak = with_peak(call)
        if peak is None:
            pytest.skip("the system does not say what a call takes")
        assert peak < 3 * column.nbytes


def overlapping(x: Any) -> dict[str, tuple[Any, Any]]:
    """name: (input, out) that share memory without being the same array."""
    line = np.zeros(x.size + CLASSES, x.dtype)
    later = line[CLASSES:].reshape(x.shape), line[: x.size].reshape(x.shape)
    square = np.zeros((CLASSES, CLASSES), x.dtype)
    return {
        "one row later": later,
        "one row earlier": later[::-1],
        "transposed": (square, square.T),
        "reversed": (square, square[::-1]),
    }


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "squared_error", "cross_entropy"])
def test_overlapping_out_is_refused(isa: str, name: str) -> None:
    for x, out in overlapping(grid(np.float32)).values():
        call: dict[str, Callable[[], Any]] = {
            "squared_error": lambda x=x, out=out: ss.squared_error_with_grad(x, x + 1, out=out),
            "cross_entropy": lambda x=x, out=out: ss.cross_entropy_with_grad(
                x, np.zeros(len(x), int), out=out
            ),
        }
        with pytest.raises(ValueError, match=r"^out: .*overlap"):
            call.get(name, lambda x=x, out=out: getattr(ss, name)(x, out=out))()
        assert not x.any() and not out.any()


@pytest.mark.parametrize("name", WITH_OUT)
def test_a_refused_out_is_not_written(isa: str, name: str) -> None:
    x = grid(np.float32)
    seven = np.full_like(x, 7)
    refused: list[tuple[Any, Any, str]] = [
        (seven[:-1], ValueError, r"^out: expected shape \(13, 21\), got \(12, 21\)"),
        (seven.T, ValueError, r"^out: expected shape \(13, 21\), got \(21, 13\)"),
        (seven[None], ValueError, r"^out: expected shape \(13, 21\), got \(1, 13, 21\)"),
        (seven.astype(np.float64), TypeError, r"^out: expected float32, got float64"),
        (seven.astype(np.int32), TypeError, r"^out: expected float32, got int32"),
        (seven.astype(">f4"), TypeError, r"^out: expected "),
        (read_only(seven), ValueError, r"^out: .*(read-only|writ)"),
        (np.lib.stride_tricks.as_strided(seven, strides=(0, 4)), ValueError, r"^out: .*overlap"),
        (seven.tolist(), TypeError, r"^out: expected .*got list"),
    ]
    for out, error, message in refused:
        with pytest.raises(error, match=message):
            CALLS[name](ss, x, out=out)
        assert (np.asarray(out) == 7).all()


def swapped(x: Any) -> Any:
    return x.astype(x.dtype.newbyteorder())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CALLS)
def test_inputs_of_foreign_byte_order(name: str, dtype: Any) -> None:
    x = grid(dtype)
    check(CALLS[name](ss, swapped(x), swapped), CALLS[name](ref, x), dtype)


@pytest.mark.parametrize("name", [name for name in CALLS if "cross_entropy" not in name])
def test_integer_inputs_become_float64(name: str) -> None:
    x = np.round(grid(np.float64))
    result = parts(CALLS[name](ss, x.astype(np.int16)))
    assert np.asarray(result[-1]).dtype == np.float64
    check(result, CALLS[name](ref, x), np.float64)


@pytest.mark.parametrize("classes", [3, 10, 40, 1041])
def test_out_may_be_the_logits_but_no_other_argument(isa: str, classes: int) -> None:
    """The gradient is written before the last look at the target and the weights."""
    x = np.linspace(0.1, 1, 5 * classes).reshape(5, classes)
    q, one, weight = x.copy(), x[0].copy(), x[1].copy()
    refused: list[tuple[Any, Any, dict[str, Any]]] = [
        (x, q, {"out": q}),
        (q, q, {"out": q}),
        (q, q[::-1], {"out": q}),
        (one, np.array(0), {"weight": weight, "label_smoothing": 0.1, "out": weight}),
        (one, np.array(0), {"weight": one, "label_smoothing": 0.1, "out": one}),
    ]
    for logits, target, options in refused:
        before = options["out"].copy()
        with pytest.raises(ValueError, match=r"^out: .*overlap"):
            ss.cross_entropy_with_grad(logits, target, **options)
        np.testing.assert_array_equal(options["out"], before)


def test_views_and_subclasses(isa: str, tmp_path: Any) -> None:
    x = grid(np.float32)
    expected = ss.softmax(x)
    mapped = np.memmap(tmp_path / "x", np.float32, "w+", shape=x.shape)
    mapped[...] = x
    np.testing.assert_array_equal(ss.softmax(mapped), expected)
    np.testing.assert_array_equal(ss.softmax(backwards(x), out=np.empty_like(x)), expected)
    loss = ss.cross_entropy(x, INDEX)
    assert ss.cross_entropy(x, backwards(INDEX)) == loss
