"""What users do to arrays and options, in every front end and dtype: the values stay the same."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import softstep as ss
from tests import reference as ref
from tests.conformance.front_ends import FRONT_ENDS, HEADS, Lacks
from tests.support.cases import (
    backwards,
    compute_dtype,
    every_second,
    padded_rows,
    read_only,
    roundoff,
    unaligned,
)
from tests.support.cross_entropy_check import half_ulp

ml_dtypes = pytest.importorskip("ml_dtypes")
DTYPES = [np.dtype(d) for d in (np.float32, np.float64, np.float16, ml_dtypes.bfloat16)]
ROWS, CLASSES = 5, 11

Situation = Callable[[Any, Any, dict[str, Any]], tuple[Any, Any, dict[str, Any]]]


def logits(x: Callable[[Any], Any]) -> Situation:
    return lambda logits, target, options: (x(logits), target, options)


def targets(t: Callable[[Any], Any]) -> Situation:
    return lambda logits, target, options: (logits, t(target), options)


def option(name: str, value: Any) -> Situation:
    return lambda logits, target, options: (logits, target, {**options, name: value})


def ignored(x: Any, target: Any, options: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """Rows of weight 0 hold anything."""
    x = np.array(x)
    x[1], x[3] = np.nan, np.inf
    share = np.array([1, 0, 2, 0, 0.5]).astype(compute_dtype(x))
    return x, target, {**options, "sample_weight": share}


def repeated(x: Any, target: Any, options: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """One row of logits for all targets, without a copy of it."""
    return np.broadcast_to(x[:1], x.shape), target, options


def swapped(array: Any) -> Any:
    """The same numbers in the other order of bytes; bfloat16 has but one."""
    return array if array.dtype.name == "bfloat16" else array.astype(array.dtype.newbyteorder())


SITUATIONS: dict[str, Situation] = {
    "logits backwards": logits(backwards),
    "every second of the logits": logits(every_second),
    "rows with padding": logits(padded_rows),
    "logits that cannot be written": logits(read_only),
    "logits between words": logits(unaligned),
    "columns first": logits(np.asfortranarray),
    "logits in the other order of bytes": logits(swapped),
    "one row repeated": repeated,
    "one row": lambda x, t, o: (x[:1], t[:1], o),
    "no rows": lambda x, t, o: (x[:0], t[:0], o),
    "targets backwards": targets(backwards),
    "every second of the targets": targets(every_second),
    "targets that cannot be written": targets(read_only),
    "targets between words": targets(unaligned),
    "targets in the other order of bytes": targets(swapped),
    "ignored rows": ignored,
    "a weight in the other order of bytes": option("weight", swapped(np.linspace(1, 2, CLASSES))),
    "a weight of every second": option("weight", np.linspace(1, 2, 2 * CLASSES)[::2]),
    "an int": option("temperature", 2),
    "a NumPy scalar": option("temperature", np.float64(2)),
    "a NumPy scalar of another dtype": option("z_loss", np.float32(0.25)),
    "an array without dimensions": option("softcap", np.array(8.0)),
    "a NumPy integer": option("ignore_index", np.int64(3)),
}


def problem(kind: str, dtype: Any) -> tuple[Any, Any]:
    rng = np.random.default_rng(4)
    x = (4 * rng.normal(size=(ROWS, CLASSES))).astype(dtype)
    if kind == "classes":
        return x, rng.integers(0, CLASSES, ROWS)
    return x, rng.dirichlet(np.ones(CLASSES), ROWS).astype(dtype)


def check(front_end: Any, x: Any, target: Any, options: dict[str, Any]) -> None:
    unit = 40 * roundoff(compute_dtype(x), CLASSES)
    try:
        loss, gradient = front_end(x, target, **options)
    except Lacks as lack:
        pytest.skip(str(lack))
    plain = {k: np.asarray(v).tolist() if np.ndim(v) == 0 else v for k, v in options.items()}
    exact = ref.cross_entropy_results(
        np.asarray(x).astype(np.float64),
        target if np.asarray(target).dtype.kind in "iub" else np.asarray(target).astype(np.float64),
        reduction="none",
        **plain,
    )
    assert loss.shape == (len(x),) and gradient.shape == x.shape
    assert gradient.dtype == x.dtype.newbyteorder("=")
    assert loss.dtype == compute_dtype(x).newbyteorder("=")
    np.testing.assert_allclose(loss, exact["loss"], rtol=unit, atol=unit)
    error = np.abs(gradient.astype(np.float64) - exact["dlogits"])
    assert (
        error <= unit * (1 + np.abs(exact["dlogits"])) + half_ulp(exact["dlogits"], x.dtype)
    ).all()


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("kind", ["classes", "probabilities"])
@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_the_values_stay(front_end: Any, kind: str, situation: str) -> None:
    for dtype in DTYPES:
        x, target = problem(kind, dtype)
        x, target, options = SITUATIONS[situation](x, target, {})
        if "ignore_index" in options and kind != "classes":
            continue
        check(front_end, x, target, options)


INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]


@pytest.mark.parametrize("integer", INTEGERS)
@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_class_indices_of_every_integer(front_end: Any, integer: str) -> None:
    x, target = problem("classes", np.dtype(np.float32))
    check(front_end, x, target.astype(integer), {})


# The first beyond the classes, the last of the integer, and what other widths would take for 1.
BEYOND = [(i, v) for i in INTEGERS for v in (CLASSES, np.iinfo(i).max)]
BEYOND += [(i, v) for i in INTEGERS if i.startswith("i") for v in (-1, np.iinfo(i).min)]
BEYOND += [("int64", 2**32 + 1), ("uint64", 2**32 + 1), ("uint64", 2**63), ("uint64", 2**64 - 100)]
BEYOND += [("uint8", 256 - 100), ("uint16", 2**16 - 100), ("uint32", 2**32 - 100)]


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_labels_that_are_no_class(front_end: Any) -> None:
    """An IndexError; from a compiled program a loss of NaN and no gradient."""
    x, target = problem("classes", np.dtype(np.float32))
    jax = front_end.__name__.startswith("jax")
    loss, gradient = front_end(x, target) if jax else (None, None)
    for integer, value in BEYOND[:: 4 if jax else 1]:
        wrong = target.astype(integer)
        wrong[2] = value
        if not jax:
            with pytest.raises(IndexError, match=r"target: row 2 has the value \d*.*a class in"):
                front_end(x, wrong)
            continue
        losses, gradients = front_end(x, wrong)
        assert np.isnan(losses[2]) and not gradients[2].any()
        np.testing.assert_array_equal(np.delete(losses, 2), np.delete(loss, 2))
        np.testing.assert_array_equal(np.delete(gradients, 2, 0), np.delete(gradient, 2, 0))


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_booleans_are_classes(front_end: Any) -> None:
    x, _ = problem("classes", np.dtype(np.float32))
    check(front_end, x, np.array([True, False, True, True, False]), {})


@pytest.mark.parametrize("shift", [0, 1, True, 3, 4, 6])
@pytest.mark.parametrize("length", [1, 2, 4])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("front_end", HEADS)
def test_targets_ahead(front_end: Any, dtype: Any, length: int, shift: int) -> None:
    """The loss of ``hidden[:, :-shift]`` and ``target[:, shift:]``, and its gradient."""
    rng = np.random.default_rng(length)
    hidden = rng.normal(size=(2, length, 3)).astype(dtype)
    weight = rng.normal(size=(CLASSES, 3)).astype(dtype)
    target = rng.integers(0, CLASSES, (2, length))
    count = max(length - int(shift), 0)
    loss, dhidden = front_end(hidden, weight, target, shift=shift)
    expected, gradients = ss.linear_cross_entropy_with_grad(
        hidden[:, :count].astype(np.float64),
        weight.astype(np.float64),
        target[:, int(shift) :],
        reduction="none",
    )
    unit = 60 * roundoff(compute_dtype(hidden), CLASSES)
    np.testing.assert_allclose(loss, np.reshape(expected, (2, count)), rtol=unit, atol=unit)
    right = np.zeros(hidden.shape)
    right[:, :count] = gradients.dhidden
    error = np.abs(dhidden.astype(np.float64) - right)
    # The gradient of the logits, whose absolute sum is at most 2, may be rounded to bfloat16.
    rounded = 2 * 2.0**-8 * np.abs(weight).max() if dtype.name == "bfloat16" else 0.0
    assert (error <= unit * (1 + np.abs(right)) + rounded + half_ulp(right, dtype)).all()


@pytest.mark.parametrize(("shift", "error"), [(-1, ValueError), (0.5, TypeError)])
@pytest.mark.parametrize("front_end", HEADS)
def test_shifts_that_are_none(front_end: Any, shift: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="shift: expected"):
        front_end(np.ones((2, 3, 4)), np.ones((5, 4)), np.zeros((2, 3), int), shift=shift)
