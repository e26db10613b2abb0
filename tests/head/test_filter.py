"""filter_eps of linear_cross_entropy_with_grad: what is left out, and the bound of the error."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import softstep as ss
from softstep import _core
from tests.reference.linear_cross_entropy import linear_cross_entropy_results

ROWS, FEATURES, CLASSES = 40, 16, 1000


def peaked(rng: np.random.Generator, dtype: Any = np.float64) -> tuple[Any, Any, Any]:
    """A trained head: most of the probability at the target and few other classes."""
    weight = rng.normal(size=(CLASSES, FEATURES))
    target = rng.integers(0, CLASSES // 4, ROWS)
    hidden = 1.5 * weight[target] + 0.1 * rng.normal(size=(ROWS, FEATURES))
    return hidden.astype(dtype), weight.astype(dtype), target


OPTIONS: list[dict[str, Any]] = [
    {},
    {"reduction": "sum"},
    {"reduction": "none"},
    {"temperature": 2.0},
    {"softcap": 30.0, "z_loss": 0.001},
    {"denominator": 7.0},
]


@pytest.mark.parametrize("eps", [1e-6, 1e-3, 0.05])
@pytest.mark.parametrize("workspace", [None, 60_000])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_error_is_within_its_bound(
    isa: str, rng: np.random.Generator, options: dict[str, Any], workspace: Any, eps: float
) -> None:
    hidden, weight, target = peaked(rng)
    sample_weight = rng.uniform(0.5, 2, ROWS)
    sample_weight[3] = 0
    options = {**options, "sample_weight": sample_weight, "bias": rng.normal(size=CLASSES)}
    exact = linear_cross_entropy_results(hidden, weight, target, **options)
    loss, gradients = ss.linear_cross_entropy_with_grad(
        hidden, weight, target, filter_eps=eps, workspace=workspace, **options
    )
    np.testing.assert_allclose(loss, exact["loss"], rtol=1e-12)
    # Every entry of dlogits that is left out is below eps times the row's share.
    share = sample_weight / np.where(options.get("reduction", "mean") == "mean", 1, 1)
    if options.get("reduction", "mean") == "mean":
        share = sample_weight / options.get("denominator", sample_weight.sum())
    left_out = np.minimum(np.abs(exact["dlogits"]), (eps * share)[:, None])
    rounding = 1e-12
    for name, bound in {
        "dhidden": left_out @ np.abs(weight),
        "dweight": left_out.T @ np.abs(hidden),
        "dbias": left_out.sum(axis=0),
    }.items():
        error = np.abs(getattr(gradients, name) - exact[name])
        assert (error <= bound + rounding).all(), name
    if eps > 1e-3:
        assert not np.allclose(gradients.dweight, exact["dweight"], rtol=1e-9, atol=1e-14)


def test_targets_are_never_left_out(rng: np.random.Generator) -> None:
    _, weight, target = peaked(rng)
    weight /= np.linalg.norm(weight, axis=1, keepdims=True)
    hidden = 60 * weight[target]  # certain: even the target's gradient is below the threshold
    exact = ss.linear_cross_entropy_with_grad(hidden, weight, target)[1]
    gradients = ss.linear_cross_entropy_with_grad(hidden, weight, target, filter_eps=0.5)[1]
    assert exact.dweight is not None and gradients.dweight is not None
    np.testing.assert_allclose(gradients.dweight[target], exact.dweight[target], atol=1e-15)
    dropped = (gradients.dweight == 0).all(axis=1)
    assert dropped[CLASSES // 4 + 16 :].all() and not dropped[target].all()


@pytest.mark.parametrize("workspace", [None, 60_000])
def test_buffers_are_added_to(rng: np.random.Generator, workspace: Any) -> None:
    hidden, weight, target = peaked(rng)
    target[[1, 7]] = -100
    options: dict[str, Any] = {"bias": np.zeros(CLASSES), "workspace": workspace}
    options["filter_eps"] = 1e-3
    fresh = ss.linear_cross_entropy_with_grad(hidden, weight, target, **options)[1]._asdict()
    ones = {name: np.ones_like(gradient) for name, gradient in fresh.items()}
    ss.linear_cross_entropy_with_grad(hidden, weight, target, **options, **ones, accumulate=True)
    for name, gradient in fresh.items():
        np.testing.assert_allclose(ones[name], 1 + gradient, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_half_precision_and_layouts(rng: np.random.Generator, dtype: Any) -> None:
    hidden, weight, target = peaked(rng, dtype)
    expected = ss.linear_cross_entropy_with_grad(hidden, weight, target, filter_eps=1e-3)[1]
    for other in (np.asfortranarray(weight), np.repeat(weight, 2, axis=1)[:, ::2]):
        gradients = ss.linear_cross_entropy_with_grad(hidden, other, target, filter_eps=1e-3)[1]
        np.testing.assert_allclose(gradients.dweight, expected.dweight, atol=1e-6)


def test_sparse_and_dense_targets(rng: np.random.Generator) -> None:
    hidden, weight, target = peaked(rng)
    classes = np.stack([target, target + 500], axis=1)
    mass = np.tile([0.9, 0.1], (ROWS, 1))
    dense = np.zeros((ROWS, CLASSES))
    np.put_along_axis(dense, classes, mass, axis=1)
    exact = ss.linear_cross_entropy_with_grad(hidden, weight, dense)[1]
    for given, options in ((dense, {}), (classes, {"target_probabilities": mass})):
        gradients = ss.linear_cross_entropy_with_grad(
            hidden, weight, given, filter_eps=1e-5, **options
        )[1]
        np.testing.assert_allclose(gradients.dweight, exact.dweight, atol=4e-5)
        assert (gradients.dweight[target + 500] != 0).all()


def test_not_a_number_is_never_left_out(rng: np.random.Generator) -> None:
    hidden, weight, target = peaked(rng)
    weight[900] = np.nan
    gradients = ss.linear_cross_entropy_with_grad(hidden, weight, target, filter_eps=0.5)[1]
    assert np.isnan(gradients.dhidden).all() and np.isnan(gradients.dweight).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("classes", [1, 15, 16, 17, 100, 5000])
def test_mark_and_compact(rng: np.random.Generator, dtype: Any, classes: int) -> None:
    x = rng.normal(size=(23, classes)).astype(dtype)
    x[:, classes // 2] *= 50
    bounds = np.full(23, 30.0)
    bounds[4] = 1e9
    tiles = -(-classes // _core.FILTER_TILE)
    live = np.zeros(tiles, np.uint8)
    _core.filter_mark(x, bounds, live)
    wide = np.zeros((23, tiles * _core.FILTER_TILE))
    wide[:, :classes] = np.abs(x) > bounds[:, None]
    expected = wide.reshape(23, tiles, -1).any(axis=(0, 2))
    np.testing.assert_array_equal(live, expected)
    live[0] = 1
    kept = np.repeat(live, _core.FILTER_TILE)[:classes] == 1
    expected_rows = x[:, kept]
    _core.filter_compact(x, live)
    np.testing.assert_array_equal(x[:, : expected_rows.shape[1]], expected_rows)


@pytest.mark.parametrize("wrong", [0.0, 1.0, -1e-3, float("nan")])
def test_thresholds_that_are_none(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"filter_eps: expected a number in \(0, 1\) or None"):
        ss.linear_cross_entropy_with_grad([[1.0]], [[1.0]], [0], filter_eps=wrong)
    with pytest.raises(TypeError, match="filter_eps: expected a number or None, got list"):
        ss.linear_cross_entropy_with_grad([[1.0]], [[1.0]], [0], filter_eps=[1])  # type: ignore[arg-type]


def test_the_kernels_check_their_arguments() -> None:
    x, live = np.ones((3, 20)), np.zeros(2, np.uint8)
    with pytest.raises(ValueError, match=r"live: expected shape \(2,\), got \(3,\)"):
        _core.filter_compact(x, np.zeros(3, np.uint8))
    with pytest.raises(TypeError, match="live: expected an array of uint8"):
        _core.filter_mark(x, np.ones(3), np.zeros(2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"bounds: expected shape \(3,\)"):
        _core.filter_mark(x, np.ones(2), live)
    with pytest.raises(ValueError, match="dlogits: expected 2 dimensions and rows of adjacent"):
        _core.filter_mark(x.T, np.ones(20), np.zeros(1, np.uint8))
