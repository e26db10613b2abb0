"""Cross-entropy with the classes on several ranks: the values of the whole, whatever the shards."""

from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import softstep as ss
from softstep import _core
from tests import reference as ref
from tests.distributed.cross_entropy_check import sharded
from tests.support.cases import assert_within, compute_dtype
from tests.support.cross_entropy_calls import calls
from tests.support.cross_entropy_check import bounds, half_ulp

INF, NAN = np.inf, np.nan
CUTS = [[0, 5], [0, 2, 5], [0, 0, 5], [0, 1, 4, 5], [0, 2, 2, 5], [0, 5, 5, 5, 5], [0, 1, 2, 4, 5]]


@st.composite
def sharded_calls(draw: Any) -> tuple[Any, dict[str, Any], list[int]]:
    x, options = draw(calls())
    classes = x.shape[options["axis"]]
    inner = draw(st.lists(st.integers(0, classes), min_size=0, max_size=3))
    return x, options, [0, *sorted(inner), classes]


@settings(derandomize=True, deadline=None, database=None, max_examples=150, phases=[Phase.generate])
@given(st.sampled_from(ss.available_isas()), sharded_calls())
def test_every_combination_is_the_whole(isa: str, call: tuple[Any, dict[str, Any], Any]) -> None:
    """On 1 to 4 ranks, within the rounding that the kernel on all classes is granted."""
    x, options, cuts = call
    target = options.pop("target")
    dtype = compute_dtype(x)
    exact = ref.cross_entropy_results(x, target, **options)
    limits = bounds(x, target, options, exact)
    limits["dlogits"] = limits["dlogits"] + half_ulp(exact["dlogits"], x.dtype)
    before = _core.active_isa()
    _core.use_isa(isa)
    try:
        whole = ss.cross_entropy_with_grad(x, target, **options)
        plain = sharded(x, target, cuts, **options)
        in_place = sharded(x, target, cuts, in_place=True, **options)
    finally:
        _core.use_isa(before)
    for loss, dlogits in (plain, in_place):
        assert_within(loss, exact["loss"], limits["loss"], dtype)
        assert_within(np.asarray(dlogits, dtype), exact["dlogits"], limits["dlogits"], dtype)
        assert_within(loss, np.asarray(whole[0]), 2 * limits["loss"], dtype)
        wide = np.asarray(whole[1], dtype)
        assert_within(np.asarray(dlogits, dtype), wide, 2 * limits["dlogits"], dtype)


ROWS = np.array(
    [
        [1, 2, 3, 4, 5],
        [-INF, -INF, 3, 4, 5],
        [1, -INF, -INF, -INF, -INF],
        [-INF] * 5,
        [NAN, 2, 3, 4, 5],
        [1, 2, 3, 4, NAN],
        [INF, 2, 3, 4, 5],
        [1, 2, 3, 4, INF],
        [INF, 2, -INF, INF, 5],
        [NAN, INF, 3, 4, -INF],
        [3e38, -3e38, 0, 1, 2],
        [-3e38, -3e38, -3e38, -3e38, 3e38],
        [-3e38, -3e38, -3e38, -3e38, -3e38],
        [20, 0, 1, -INF, 0],
        [0, 0, -INF, 0, 700],
    ]
)


@pytest.mark.parametrize("cuts", CUTS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_special_values_are_as_in_the_whole(cuts: list[int], dtype: Any) -> None:
    """NaN on one rank reaches all, of that row only; slices of -inf are as good as none."""
    x = ROWS.astype(dtype)
    q = np.array([0.0, 0.25, 0.5, 0.25, 0.0])
    sparse = np.tile([0, 3], (len(x), 1))
    plain: list[tuple[Any, dict[str, Any]]] = [
        *((np.full(len(x), t), {}) for t in range(5)),
        (np.full(len(x), 2), {"label_smoothing": 0.1}),
        (np.full(len(x), 4), {"label_smoothing": 0.1, "smoothing": "allowed"}),
        (np.full(len(x), 0), {"label_smoothing": 0.1, "smoothing": "exclude_target"}),
        (np.full(len(x), 0), {"softcap": 5.0, "z_loss": 0.1}),
        (np.full(len(x), 0), {"temperature": 2.0, "z_loss": 0.1}),
        (np.full(len(x), 1), {"weight": np.array([1.0, 0.0, 2.0, 1.0, 0.0])}),
        (np.tile(q, (len(x), 1)), {}),
        (np.zeros(x.shape), {}),
        (sparse, {"target_probabilities": np.full(sparse.shape, 0.5)}),
    ]
    eps = 1e-5 if dtype == np.float32 else 1e-13
    for target, options in plain:
        loss, dlogits = ss.cross_entropy_with_grad(x, target, reduction="none", **options)
        for in_place in (False, True):
            got = sharded(x, target, cuts, in_place=in_place, reduction="none", **options)
            # What overflows in float32 need not where shards are added in double.
            exact = ref.cross_entropy(x, target, reduction="none", **options)
            expected = np.where(np.isinf(loss) & np.isfinite(got[0]), exact, loss)
            np.testing.assert_allclose(got[0], expected, rtol=eps, err_msg=str(options))
            np.testing.assert_allclose(got[1], dlogits, rtol=eps, atol=1e-35, err_msg=str(options))


def test_a_nan_on_one_rank_is_in_the_mean_of_all() -> None:
    x = np.zeros((3, 4), np.float32)
    x[1, 3] = NAN
    loss, dlogits = sharded(x, np.array([0, 0, 0]), [0, 2, 4])
    assert np.isnan(loss)
    assert np.isnan(dlogits).all(axis=1).tolist() == [False, True, False]
    assert np.isfinite(dlogits[[0, 2]]).all()
    loss, dlogits = sharded(x, np.array([0, -100, 0]), [0, 2, 4])
    assert loss == pytest.approx(np.log(4)) and not dlogits[1].any()


@pytest.mark.parametrize("cuts", [[0, 1, 3], [0, 3, 3], [0, 1, 2, 3], [0, 0, 2, 3, 3]], ids=str)
def test_near_certainty_is_accurate(cuts: list[int]) -> None:
    """Log1p of the others, wherever they are: -log(p) and lse - x would be 0."""
    x, expected = np.float32([[20, 0, 1]]), np.log1p(np.exp(-20) + np.exp(-19))
    loss, dlogits = sharded(x, np.array([0]), cuts)
    assert loss == pytest.approx(expected, rel=2e-7)
    assert dlogits[0, 0] == pytest.approx(-(np.exp(-20) + np.exp(-19)), rel=3e-7)


def test_label_smoothing_is_over_all_classes(rng: np.random.Generator) -> None:
    """Smoothing over each rank's own classes, as in Megatron, gives every rank another loss."""
    x, target, eps = rng.normal(size=(6, 10)), rng.integers(0, 10, 6), 0.3
    cuts = [0, 3, 10]
    whole, dwhole = ss.cross_entropy_with_grad(x, target, label_smoothing=eps)
    loss, dlogits = sharded(x, target, cuts, label_smoothing=eps)
    assert loss == pytest.approx(whole, rel=1e-14)
    np.testing.assert_allclose(dlogits, dwhole, rtol=1e-12, atol=1e-16)
    logp = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
    for begin, end in ((0, 3), (3, 10)):
        nll = -logp[np.arange(6), target]
        own = (1 - eps) * nll - eps * logp[:, begin:end].mean(axis=1)
        assert abs(own.mean() - loss) > 1e-3


@pytest.mark.parametrize("empty", ["nan", "zero"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_nothing_counts(empty: str, reduction: str) -> None:
    x, weight = np.ones((2, 3)), np.array([0.0, 1.0, 1.0])
    for rows, options in (
        (slice(None), {"ignore_index": 0}),
        (slice(None), {"weight": weight}),
        (slice(None), {"sample_weight": np.zeros(2)}),
        (slice(0), {}),
    ):
        options |= {"reduction": reduction, "empty": empty}
        if "sample_weight" in options and rows == slice(0):
            continue
        target = np.zeros(2, int)[rows]
        loss, dlogits = sharded(x[rows], target, [0, 1, 3], **options)
        whole = ss.cross_entropy_with_grad(x[rows], target, **options)
        np.testing.assert_array_equal(loss, whole[0])
        np.testing.assert_array_equal(dlogits, whole[1])


@pytest.mark.parametrize("shape", [(1, 400_000), (500, 700)])
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1, "softcap": 20.0}], ids=str)
def test_bits_do_not_depend_on_threads(
    rng: np.random.Generator, shape: tuple[int, int], options: dict[str, Any]
) -> None:
    """Also of rows so long that threads share one."""
    x = rng.normal(size=shape).astype(np.float32)
    target = rng.integers(0, shape[1], shape[0])
    cuts = [0, shape[1] // 4, shape[1]]
    found = []
    for n in (1, 2, 3, 7):
        with ss.threads(n):
            found.append(sharded(x, target, cuts, **options))
    exact = ref.cross_entropy_results(x, target, **options)
    limits = bounds(x, target, options, exact)
    assert_within(found[0][0], exact["loss"], limits["loss"], np.float32)
    assert_within(found[0][1], exact["dlogits"], limits["dlogits"], np.float32)
    for loss, dlogits in found[1:]:
        assert loss == found[0][0]
        np.testing.assert_array_equal(dlogits, found[0][1])
