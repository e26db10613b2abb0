"""Random shapes, strides, dtypes and options against the reference, and laws that hold for all."""

from contextlib import contextmanager
from typing import Any

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import softstep as ss
from softstep import _core
from tests import reference as ref
from tests.support.cases import DTYPES, LAYOUTS, assert_within, roundoff

# The same examples on every run: a failure in CI is a failure here.
settings.register_profile(
    "softstep",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("softstep")

ISAS = st.sampled_from(ss.available_isas())
# Numbers of float32: older versions of Hypothesis take no others for one.
SPECIAL = st.sampled_from(
    np.float32([np.nan, np.inf, -np.inf, 3e38, -3e38, 0.0, -0.0, 1e-40]).tolist()
)
NUMBERS = st.floats(-30, 30, width=32)


@contextmanager
def level(isa: str) -> Any:
    before = _core.active_isa()
    _core.use_isa(isa)
    try:
        yield
    finally:
        _core.use_isa(before)


@st.composite
def logits(draw: Any, numbers: Any = NUMBERS, max_dims: int = 3) -> tuple[Any, Any, int]:
    """(values, the same in some layout, axis)."""
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=max_dims, min_side=0, max_side=40))
    if np.prod(shape) > 4000:
        shape = shape[:2]
    dtype = draw(st.sampled_from(DTYPES))
    # A few drawn values over a background: fast, and specials stay rare enough to be interesting.
    x = draw(hnp.arrays(dtype, shape, elements=numbers, fill=st.just(0.25)))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    return x, LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))](x), axis


def unit(x: Any, axis: int) -> float:
    return roundoff(x.dtype, x.shape[axis])


@given(ISAS, logits(), st.sampled_from([0.5, 1.0, 2.0]))
def test_softmax_family(isa: str, drawn: Any, temperature: float) -> None:
    values, x, axis = drawn
    size = 1 + 4 * np.abs(values).max(initial=0)
    with level(isa):
        for name in ("softmax", "log_softmax", "logsumexp"):
            actual = getattr(ss, name)(x, axis=axis, temperature=temperature)
            expected = getattr(ref, name)(values, axis=axis, temperature=temperature)
            assert_within(actual, expected, unit(x, axis) * size)
    np.testing.assert_array_equal(x, values)


@given(ISAS, logits(NUMBERS | SPECIAL, max_dims=2))
def test_special_values_anywhere(isa: str, drawn: Any) -> None:
    values, x, axis = drawn
    with level(isa):
        for name in ("softmax", "log_softmax", "logsumexp", "entropy"):
            expected = getattr(ref, name)(values, axis=axis)
            if name == "entropy" and values.shape[axis] == 0:
                continue  # the entropy of no class has no meaning
            finite = np.where(np.isfinite(expected), np.abs(expected), 0)
            bound = 4 * unit(x, axis) * (40 + finite)
            assert_within(getattr(ss, name)(x, axis=axis), expected, bound)


@given(ISAS, logits(NUMBERS | SPECIAL, max_dims=2))
def test_laws_of_softmax(isa: str, drawn: Any) -> None:
    """Rows sum to 1, keep the order of the logits, stay in [0, 1]; softmax = exp(log_softmax)."""
    values, x, axis = drawn
    with level(isa):
        p, logp = ss.softmax(x, axis=axis), ss.log_softmax(x, axis=axis)
    rows = np.moveaxis(p, axis, -1)
    usable = np.isfinite(np.moveaxis(values, axis, -1)).all(axis=-1)
    rows = rows[usable]
    assert (rows >= 0).all() and (rows <= 1 + unit(x, axis)).all()
    if values.shape[axis]:
        assert_within(rows.sum(axis=-1), np.ones(len(rows)), 4 * unit(x, axis))
    same = np.exp(np.moveaxis(logp, axis, -1)[usable].astype(np.float64))
    assert_within(rows, same, 100 * unit(x, axis))
    order = np.argsort(np.moveaxis(values, axis, -1)[usable], axis=-1, kind="stable")
    steps = np.diff(np.take_along_axis(rows, order, -1), axis=-1)
    assert (steps >= -4 * np.finfo(x.dtype).eps).all()


@st.composite
def losses(draw: Any) -> tuple[Any, Any, Any, dict[str, Any]]:
    values, x, axis = draw(logits(max_dims=2))
    classes = values.shape[axis]
    assume(classes > 0)  # the loss over no class has no meaning
    rows = tuple(np.delete(values.shape, axis).tolist())
    options: dict[str, Any] = {
        "axis": axis,
        "label_smoothing": draw(st.sampled_from([0.0, 0.0, 0.1, 1.0])),
        "temperature": draw(st.sampled_from([1.0, 0.5, 2.0])),
        "z_loss": draw(st.sampled_from([0.0, 0.0, 0.01])),
        "reduction": draw(st.sampled_from(["none", "sum", "mean"])),
        "empty": draw(st.sampled_from(["nan", "zero"])),
    }
    positive = st.floats(0.125, 2, width=32)
    if draw(st.booleans()):
        options["weight"] = draw(hnp.arrays(x.dtype, (classes,), elements=positive))
    if draw(st.booleans()):
        options["sample_weight"] = draw(hnp.arrays(x.dtype, rows, elements=positive))
    if draw(st.booleans()):
        q = draw(hnp.arrays(x.dtype, values.shape, elements=st.floats(0, 1, width=32)))
        return values, x, q, options
    integer = draw(st.sampled_from([np.int8, np.uint8, np.int32, np.int64]))
    target = draw(hnp.arrays(integer, rows, elements=st.integers(0, classes - 1)))
    if np.issubdtype(integer, np.signedinteger):
        target = np.where(draw(hnp.arrays(bool, rows)), target, integer(-100))
    return values, x, target, options


@given(ISAS, losses())
def test_cross_entropy(isa: str, drawn: Any) -> None:
    values, x, target, options = drawn
    with level(isa):
        loss, gradient = ss.cross_entropy_with_grad(x, target, **options)
    expected, slope = ref.cross_entropy_with_grad(values, target, **options)
    # Every term is below 2 weights x 2 row weights x (60 / 0.5 + log C), the z term 0.01 x 64^2.
    classes = values.shape[options["axis"]]
    mass = classes if target.shape == values.shape else 1
    size = 4 * mass * (130 + 41)
    rows = max(np.size(slope) // classes, 1) if options["reduction"] == "sum" else 1
    bound = unit(x, options["axis"]) * size
    assert_within(loss, expected, bound * rows, x.dtype)
    assert_within(gradient, slope, bound / 8)


@given(ISAS, logits(max_dims=2), st.data())
def test_the_gradient_of_a_row_sums_to_zero(isa: str, drawn: Any, data: Any) -> None:
    """Adding a constant to a row changes no loss."""
    values, x, axis = drawn
    classes = values.shape[axis]
    assume(classes > 0)
    rows = tuple(np.delete(values.shape, axis).tolist())
    target = data.draw(hnp.arrays(np.int64, rows, elements=st.integers(0, classes - 1)))
    with level(isa):
        _, gradient = ss.cross_entropy_with_grad(x, target, axis=axis, reduction="sum")
    total = gradient.astype(np.float64).sum(axis=axis)
    assert_within(total, np.zeros(rows), 64 * unit(x, axis), x.dtype)


@given(
    ISAS,
    logits(max_dims=2),
    st.fixed_dictionaries(
        {
            "momentum": st.sampled_from([0.0, 0.5, 0.9]),
            "dampening": st.sampled_from([0.0, 0.5]),
            "weight_decay": st.sampled_from([0.0, 0.1]),
            "decoupled": st.booleans(),
            "maximize": st.booleans(),
        }
    ),
)
def test_sgd_on_any_layout(isa: str, drawn: Any, options: dict[str, Any]) -> None:
    values, x, _ = drawn
    assume(x.flags.aligned)  # only inputs may be misaligned
    param = x.copy() if x is values else x
    grad = values[::-1]
    with level(isa):
        ours, theirs = ss.SGD([param], 0.1, **options), ref.SGD([values], 0.1, **options)
        for _ in range(3):
            ours.step([grad])
            theirs.step([grad])
    assert_within(param, theirs.params[0], 3 * roundoff(x.dtype) * 40)
