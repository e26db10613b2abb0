"""linear_cross_entropy against the dense reference: every option, shape and dtype."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import softstep as ss
from tests.support.cases import DTYPES
from tests.support.linear_cross_entropy_check import check_head

SMALL = 3000  # bytes of workspace: a few rows at a time


def problem(rng: np.random.Generator, lead: Any, features: int, classes: int, dtype: Any) -> Any:
    hidden = rng.normal(size=(*lead, features)).astype(dtype)
    weight = rng.normal(size=(classes, features)).astype(dtype)
    return hidden, weight, rng.integers(0, classes, lead)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"reduction": "sum"},
    {"reduction": "none"},
    {"denominator": 3.5},
    {"label_smoothing": 0.2},
    {"label_smoothing": 0.2, "smoothing": "exclude_target"},
    {"gamma": 1.5},
    {"label_smoothing": 0.2, "smoothing": "allowed"},
    {"temperature": 0.7},
    {"softcap": 2.0},
    {"z_loss": 0.03},
    {"ignore_index": 2},
    {"softcap": 3.0, "temperature": 1.5, "z_loss": 0.01, "label_smoothing": 0.1, "ignore_index": 1},
    {"upstream": -2.5},
    {"upstream": 0.5, "reduction": "sum", "z_loss": 0.1},
]


@pytest.mark.parametrize("workspace", [None, SMALL])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options(
    isa: str, rng: np.random.Generator, options: dict[str, Any], workspace: int | None
) -> None:
    for dtype in DTYPES:
        hidden, weight, target = problem(rng, (23,), 6, 37, dtype)
        bias = rng.normal(size=37).astype(dtype)
        options = {**options, "workspace": workspace}
        check_head(hidden, weight, target, **options)
        check_head(hidden, weight, target, bias=bias, **options)
        row_weight, class_weight = rng.uniform(0, 2, 23), rng.uniform(0.1, 2, 37)
        row_weight[[0, 5, 22]] = 0
        check_head(
            hidden, weight, target, sample_weight=row_weight, class_weight=class_weight, **options
        )


@pytest.mark.parametrize("workspace", [None, 6000])
@pytest.mark.parametrize(
    "options", [o for o in OPTIONS if not {"smoothing", "gamma"} & {*o}], ids=str
)
def test_soft_targets(
    rng: np.random.Generator, options: dict[str, Any], workspace: int | None
) -> None:
    hidden, weight, _ = problem(rng, (3, 7), 6, 37, np.float64)
    sample_weight = rng.uniform(0.1, 2, (3, 7))
    dense = rng.dirichlet(np.ones(37), (3, 7))
    classes, mass = rng.integers(0, 37, (3, 7, 4)), rng.uniform(size=(3, 7, 4))
    classes[0, 0, 1:] = options.get("ignore_index", -100)
    classes[1, 1] = options.get("ignore_index", -100)
    for kept in (np.ones((3, 7)), rng.integers(0, 2, (3, 7))):
        common = {**options, "workspace": workspace, "sample_weight": sample_weight * kept}
        check_head(hidden, weight, dense, **common)
        check_head(hidden, weight, dense, **common, class_weight=rng.uniform(0.1, 2, 37))
        check_head(hidden, weight, classes, target_probabilities=mass, **common)
        for shift in (True, 3):
            check_head(hidden, weight, dense, **common, shift=shift)
            check_head(hidden, weight, classes, target_probabilities=mass, **common, shift=shift)


def test_probabilities_of_other_dtypes_and_layouts(rng: np.random.Generator) -> None:
    hidden, weight, _ = problem(rng, (9,), 5, 40, np.float32)
    dense = rng.dirichlet(np.ones(40), 9)
    expected = ss.linear_cross_entropy(hidden, weight, dense.astype(np.float32))
    for other in (dense, np.asfortranarray(dense), dense.astype(np.float32)[::-1][::-1]):
        assert ss.linear_cross_entropy(hidden, weight, other) == expected
    half = dense.astype(np.float16)
    check_head(hidden, weight, half, workspace=SMALL)


@pytest.mark.parametrize("lead", [(), (1,), (40,), (2, 9), (2, 1, 5), (0,), (2, 0)])
@pytest.mark.parametrize("classes", [1, 2, 33, 300])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_shapes(rng: np.random.Generator, lead: Any, classes: int, reduction: str) -> None:
    hidden, weight, target = problem(rng, lead, 4, classes, np.float64)
    for workspace in (None, 8000):
        check_head(hidden, weight, target, reduction=reduction, workspace=workspace)
        if lead:
            for shift in (0, True, 2, lead[-1], lead[-1] + 3):
                check_head(hidden, weight, target, reduction=reduction, shift=shift)
    losses = ss.linear_cross_entropy(hidden, weight, target, reduction="none")
    assert isinstance(losses, float) if lead == () else losses.shape == lead


def test_layouts_of_the_operands(rng: np.random.Generator) -> None:
    hidden, weight, target = problem(rng, (4, 6), 5, 37, np.float64)
    loss, (dhidden, dweight, _) = ss.linear_cross_entropy_with_grad(hidden, weight, target)
    spaced = np.zeros((4, 12, 10))
    spaced[:, ::2, ::2] = hidden
    wide = np.zeros((37, 11))
    one = ss.linear_cross_entropy(spaced[0, 0, ::2], weight, target[0, 0])
    assert one == ss.linear_cross_entropy(hidden[0, 0], weight, target[0, 0])
    mass = np.repeat(np.eye(37)[3], 2)[::2]
    one = ss.linear_cross_entropy(spaced[0, 0, ::2], weight, mass)
    np.testing.assert_allclose(one, ss.linear_cross_entropy(hidden[0, 0], weight, 3), rtol=1e-14)
    wide[:, 1:6] = weight
    swapped = np.frombuffer(hidden.astype(">f8").tobytes(), ">f8").reshape(hidden.shape)
    hiddens = [np.asfortranarray(hidden), spaced[:, ::2, ::2], hidden[::-1][::-1], swapped]
    hiddens += [np.ascontiguousarray(hidden.transpose(1, 0, 2)).transpose(1, 0, 2)]
    weights = [np.asfortranarray(weight), wide[:, 1:6], np.repeat(weight, 2, axis=1)[:, ::2]]
    for h in [hidden, *hiddens]:
        for w in [weight, *weights]:
            for workspace in (None, SMALL):
                other, gradients = ss.linear_cross_entropy_with_grad(
                    h, w, target, workspace=workspace
                )
                np.testing.assert_allclose(other, loss, rtol=1e-14)
                np.testing.assert_allclose(gradients.dhidden, dhidden, atol=1e-14)
                np.testing.assert_allclose(gradients.dweight, dweight, atol=1e-14)


def test_lists_are_float64() -> None:
    loss, gradients = ss.linear_cross_entropy_with_grad(
        [[1, 0]], [[1, 0], [0, 1]], [1], bias=[0, 0]
    )
    assert loss == pytest.approx(np.log1p(np.e), rel=1e-15)
    assert all(gradient.dtype == np.float64 for gradient in gradients)  # type: ignore[union-attr]


def test_ignored_rows_poison_nothing(rng: np.random.Generator) -> None:
    hidden, weight, target = problem(rng, (12,), 5, 50, np.float32)
    target[[0, 3, 4, 11]] = -100
    hidden[[0, 3, 4, 11]] = [[np.nan], [np.inf], [-np.inf], [3e38]]
    for workspace in (None, SMALL):
        check_head(hidden, weight, target, workspace=workspace)
        masked = np.where(target == -100, 0.0, 1.0)
        check_head(hidden, weight, np.maximum(target, 0), sample_weight=masked, workspace=workspace)


@pytest.mark.parametrize("shift", [True, 1, np.True_, 2, np.int64(5)], ids=repr)
def test_shift_is_the_slices(rng: np.random.Generator, shift: Any) -> None:
    s = int(shift)
    hidden, weight, target = problem(rng, (3, 8), 5, 37, np.float64)
    target[1, 4] = -100
    upstream = rng.normal(size=(3, 8 - s))
    shifted = ss.linear_cross_entropy_with_grad(
        hidden, weight, target, shift=shift, reduction="none", upstream=upstream
    )
    sliced = ss.linear_cross_entropy_with_grad(
        hidden[:, :-s], weight, target[:, s:], reduction="none", upstream=upstream
    )
    np.testing.assert_array_equal(shifted[0], sliced[0])
    np.testing.assert_array_equal(shifted[1].dweight, sliced[1].dweight)
    assert shifted[1].dhidden is not None and not shifted[1].dhidden[:, -s:].any()
    np.testing.assert_array_equal(shifted[1].dhidden[:, :-s], sliced[1].dhidden)


def test_a_mean_over_nothing(rng: np.random.Generator) -> None:
    hidden, weight, target = problem(rng, (4,), 3, 9, np.float32)
    for options in ({"sample_weight": np.zeros(4)}, {"class_weight": np.zeros(9)}):
        assert np.isnan(ss.linear_cross_entropy(hidden, weight, target, **options))
        loss, gradients = ss.linear_cross_entropy_with_grad(
            hidden, weight, target, empty="zero", **options
        )
        assert loss == 0 and not gradients.dhidden.any() and not gradients.dweight.any()  # type: ignore[union-attr]
        with pytest.raises(ValueError, match="the mean is over no rows"):
            ss.linear_cross_entropy(hidden, weight, target, empty="raise", **options)


def test_finite_differences(rng: np.random.Generator) -> None:
    hidden, weight, target = problem(rng, (6,), 3, 7, np.float64)
    bias, upstream = rng.normal(size=7), rng.normal(size=6)
    options: dict[str, Any] = {"label_smoothing": 0.1, "softcap": 4.0, "z_loss": 0.02}
    options |= {"temperature": 1.3, "sample_weight": rng.uniform(0.5, 2, 6), "reduction": "none"}
    operands = {"hidden": hidden, "weight": weight, "bias": bias}

    def objective() -> float:
        losses = ss.linear_cross_entropy(hidden, weight, target, bias=bias, **options)
        return float(losses @ upstream)

    _, gradients = ss.linear_cross_entropy_with_grad(
        hidden, weight, target, bias=bias, upstream=upstream, workspace=700, **options
    )
    h = 1e-5
    for name, array in operands.items():
        gradient = getattr(gradients, f"d{name}")
        for at in np.ndindex(array.shape):
            before = array[at]
            array[at] = before + h
            above = objective()
            array[at] = before - h
            below = objective()
            array[at] = before
            # h^2 / 6 times a third derivative of order 1, and rounding / h.
            assert abs((above - below) / (2 * h) - gradient[at]) < 1e-8


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_any_problem(data: st.DataObject) -> None:
    rows, features = data.draw(st.integers(0, 20)), data.draw(st.integers(1, 9))
    classes = data.draw(st.integers(1, 70))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    dtype = data.draw(st.sampled_from(DTYPES))
    hidden, weight, target = problem(rng, (rows,), features, classes, dtype)
    target[rng.random(rows) < data.draw(st.sampled_from([0.0, 0.4, 1.0]))] = -100
    options: dict[str, Any] = {
        "reduction": data.draw(st.sampled_from(["mean", "sum", "none"])),
        "label_smoothing": data.draw(st.sampled_from([0.0, 0.1, 1.0])),
        "temperature": data.draw(st.sampled_from([0.5, 1.0, 3.0])),
        "softcap": data.draw(st.sampled_from([None, 2.0])),
        "z_loss": data.draw(st.sampled_from([0.0, 0.01])),
        "workspace": data.draw(st.sampled_from([None, 3000, 4000, 12345])),
    }
    if data.draw(st.booleans()):
        options["bias"] = rng.normal(size=classes).astype(dtype)
    check_head(hidden, weight, target, **options)
