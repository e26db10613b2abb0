"""A step is one of everything: the norm, the clip, the zeros; or of nothing."""

from typing import Any

import numpy as np
import pytest

import softstep as ss
from tests import reference as ref
from tests.support.cases import read_only, unaligned
from tests.support.optimizer_cases import arrays

RULES = ["SGD", "AdamW"]
SHAPES: list[tuple[int, ...]] = [(300_001,), (64, 129), (5,), (), (0, 4), (777,)]
# Of several blocks and of less than a vector, so that threads share them in different ways.
STATEFUL: dict[str, dict[str, Any]] = {"SGD": {"momentum": 0.9}, "AdamW": {}}


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("rule", RULES)
def test_bits_do_not_depend_on_the_number_of_threads(
    isa: str, rng: np.random.Generator, rule: str, dtype: Any
) -> None:
    start, grads = arrays(rng, SHAPES, dtype), arrays(rng, SHAPES, dtype)

    def trained(threads: int) -> tuple[Any, list[Any]]:
        params = [p.copy() for p in start]
        optimizer = getattr(ss, rule)(params, 0.01, max_norm=1.0, **STATEFUL[rule])
        with ss.threads(threads):
            results = [optimizer.step(grads) for _ in range(2)]
        return results, [*params, *optimizer.state_dict().values()]

    results, expected = trained(1)
    assert results[0].norm == pytest.approx(ref.global_norm(grads), rel=1e-9)
    for threads in (2, 3, 7):
        others, got = trained(threads)
        assert others == results
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_norm_of_large_and_small_gradients(isa: str) -> None:
    """Squares are summed in double: no overflow or underflow of float32."""
    for value in (1e30, 1e-30, 3e38):
        g = np.full(1000, value, np.float32)
        norm = ss.SGD([np.zeros(1000, np.float32)], 0.0, max_norm=np.inf).step([g]).norm
        assert norm == pytest.approx(float(g[0]) * 1000**0.5, rel=1e-12)


def test_the_norm_is_of_all_groups_and_before_clipping(isa: str) -> None:
    params, grads = [np.zeros(1), np.zeros(2)], [np.array([3.0]), np.array([0.0, 4.0])]
    sgd = ss.SGD([{"params": params[:1]}, {"params": params[1:], "lr": 2.0}], 1.0, max_norm=2.5)
    assert sgd.step(grads) == (5.0, False)
    half = 2.5 / (5 + 1e-6)
    np.testing.assert_allclose(params[0], [-3 * half], rtol=1e-15)
    np.testing.assert_allclose(params[1], [0, -8 * half], rtol=1e-15)
    assert sgd.step(grads, grad_scale=4.0).norm == 1.25  # unscaled first, and left as it is
    np.testing.assert_allclose(params[0], [-3 * half - 0.75], rtol=1e-15)
    assert sgd.step([None, grads[1]]).norm == 4.0
    assert ss.SGD(params, 1.0).step(grads) == (None, False)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rule", RULES)
def test_a_step_that_is_not_finite_is_skipped_wholly(
    isa: str, rng: np.random.Generator, rule: str, bad: float
) -> None:
    shapes: list[tuple[int, ...]] = [(40,), (3, 70), (1000,)]
    params = arrays(rng, shapes, np.float32)
    keywords = {"skip_nonfinite": True, **STATEFUL[rule]}
    optimizer = getattr(ss, rule)(params, lambda step: 0.1 / (1 + step), **keywords)
    good = arrays(rng, shapes, np.float32)
    assert optimizer.step(good) == (pytest.approx(ref.global_norm(good)), False)
    before = [p.copy() for p in [*params, *optimizer.state_dict().values()] if np.ndim(p)]
    for place in (0, 39, 500, 999):
        grads = arrays(rng, shapes, np.float32)
        grads[2 if place >= 40 else 0][place] = bad
        copies = [g.copy() for g in grads]
        norm, skipped = optimizer.step(grads, zero_grads=True)
        assert skipped and not np.isfinite(norm)
        for g, copy in zip(grads, copies, strict=True):
            np.testing.assert_array_equal(g, copy)
    assert optimizer.steps == 1
    after = [p for p in [*params, *optimizer.state_dict().values()] if np.ndim(p)]
    for a, b in zip(after, before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not optimizer.step(good).skipped and optimizer.steps == 2


def test_large_finite_gradients_are_not_skipped(isa: str) -> None:
    for dtype, largest in [(np.float32, 3e38), (np.float64, 1e308)]:
        p = np.zeros(100, dtype)
        sgd = ss.SGD([p], 1e-30, skip_nonfinite=True)
        assert not sgd.step([np.full(100, largest, dtype)]).skipped
        assert (p < 0).all()


def test_without_skipping_a_nan_norm_reaches_everything_as_in_torch() -> None:
    params = [np.ones(3), np.ones(2)]
    result = ss.SGD(params, 0.1, max_norm=1.0).step([np.array([1, np.nan, 1.0]), np.ones(2)])
    assert np.isnan(result.norm) and not result.skipped
    assert all(np.isnan(p).all() for p in params)


@pytest.mark.parametrize("rule", RULES)
def test_zeroed_gradients_are_the_same_step(isa: str, rng: np.random.Generator, rule: str) -> None:
    start = arrays(rng, SHAPES, np.float32)
    params, others = [p.copy() for p in start], [p.copy() for p in start]
    keeps, zeroes = (getattr(ss, rule)(p, 0.1, max_norm=1.0) for p in (params, others))
    for _ in range(2):
        grads = arrays(rng, SHAPES, np.float32)
        copies = [unaligned(g) for g in grads]
        assert keeps.step([read_only(g) for g in grads]) == zeroes.step(copies, zero_grads=True)
        assert not any(g.any() for g in copies)
        assert not any(np.signbit(g).any() for g in copies)
    for p, q in zip(params, others, strict=True):
        np.testing.assert_array_equal(p, q)


@pytest.mark.parametrize("rule", RULES)
def test_a_refused_step_changes_nothing(isa: str, rng: np.random.Generator, rule: str) -> None:
    shapes: list[tuple[int, ...]] = [(40,), (2, 5)]
    params = arrays(rng, shapes, np.float32)
    groups = [
        {"params": params[:1], "lr": lambda step: [0.1, -1.0, 0.1][step]},
        {"params": params[1:]},
    ]
    optimizer = getattr(ss, rule)(groups, 0.1, weight_decay=0.01, max_norm=1.0, **STATEFUL[rule])
    good = arrays(rng, shapes, np.float32)
    optimizer.step(good)
    before = {k: np.copy(v) for k, v in optimizer.state_dict().items()}
    kept = [p.copy() for p in params]
    whole = np.ones(60, np.float32)
    wrong: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
        (good, {}, ValueError, r"^lr: expected a finite number of at least 0, got -1\.0"),
        (good, {"lr": np.nan}, ValueError, r"^lr: "),
        (good, {"lr": 100.0}, ValueError, r"^lr \* weight_decay: .*\(0, 1\)"),
        (good, {"lr": 0.1, "grad_scale": 0.0}, ValueError, r"^grad_scale: .*got 0\.0"),
        (good, {"lr": 0.1, "grad_scale": np.inf}, ValueError, r"^grad_scale: "),
        ([good[0], good[1][:1]], {"lr": 0.1}, ValueError, r"^grads\[1\]: expected shape \(2, 5\)"),
        ([good[0], good[1].astype(np.float64)], {"lr": 0.1}, TypeError, r"^grads\[1\]: expected"),
        ([good[0], [1.0] * 10], {"lr": 0.1}, (TypeError, ValueError), r"^grads\[1\]: expected"),
        ([good[0]], {"lr": 0.1}, ValueError, r"^grads: expected 2 .*got 1"),
        ([good[0], params[1]], {"lr": 0.1}, ValueError, r"^grads\[1\]: overlaps params\[1\]"),
        ([params[0][::-1], good[1]], {"lr": 0.1}, ValueError, r"^grads\[0\]: overlaps params\[0\]"),
        (
            [whole[:40], whole[39:49].reshape(2, 5)],
            {"lr": 0.1, "zero_grads": True},
            ValueError,
            r"^grads\[1\]: overlaps grads\[0\]",
        ),
        (
            [good[0], read_only(good[1])],
            {"lr": 0.1, "zero_grads": True},
            ValueError,
            r"^grads\[1\]: ",
        ),
    ]
    for grads, keywords, error, message in wrong:
        copies = [np.copy(g) for g in grads]
        with pytest.raises(error, match=message):
            optimizer.step(grads, **keywords)
        for g, copy in zip(grads, copies, strict=True):
            np.testing.assert_array_equal(g, copy)
        for p, q in zip(params, kept, strict=True):
            np.testing.assert_array_equal(p, q)
        after = optimizer.state_dict()
        assert after.keys() == before.keys()
        for key, value in before.items():
            np.testing.assert_array_equal(after[key], value, err_msg=key)
    # Read alone, gradients may share memory with each other.
    optimizer.step([whole[:40], whole[39:49].reshape(2, 5)], lr=0.1)
    assert optimizer.steps == 2
