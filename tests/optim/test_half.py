"""Half precision: float32 arithmetic, one rounding a step, masters and stochastic rounding."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import softstep as ss
from tests import reference as ref
from tests.support.optimizer_cases import arrays

ml_dtypes = pytest.importorskip("ml_dtypes")
BFLOAT16, FLOAT16 = np.dtype(ml_dtypes.bfloat16), np.dtype(np.float16)
HALVES = [BFLOAT16, FLOAT16]
SHAPES: list[tuple[int, ...]] = [(3, 5), (), (0,), (257,), (16,), (31,)]
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "SGD": [
        {},
        {"momentum": 0.9, "weight_decay": 0.1, "max_norm": 3.0},
        {"momentum": 0.9, "nesterov": True, "decoupled": True, "weight_decay": 0.1},
    ],
    "AdamW": [{}, {"weight_decay": 0.1, "max_norm": 3.0}, {"decoupled": False}],
}


def unit(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[np.float64]:
    """The distance of the dtype's numbers next to each value."""
    info = ml_dtypes.finfo(dtype)
    exponent = np.floor(np.log2(np.maximum(np.abs(values), float(info.smallest_normal))))
    return np.asarray(2.0**exponent * float(info.eps))


def wide(array: NDArray[Any]) -> NDArray[np.float64]:
    return array.astype(np.float64)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("rule", OPTIONS)
def test_one_rounding_to_nearest(
    isa: str, rng: np.random.Generator, rule: str, dtype: np.dtype[Any]
) -> None:
    """Half a unit, and four roundings of the float32 arithmetic before; the state is float32.

    The terms of that, a parameter and 0.1 of four gradients, may cancel: it is relative to them.
    """
    for options in OPTIONS[rule]:
        params = arrays(rng, SHAPES, dtype)
        ours = getattr(ss, rule)(params, 0.1, **options)
        theirs = getattr(ref, rule)(params, 0.1, **options)
        for _ in range(4):
            grads, before = arrays(rng, SHAPES, dtype), [np.abs(wide(p)) for p in params]
            ours.step(grads)
            theirs.step(grads)
            for p, exact, terms in zip(params, theirs.params, before, strict=True):
                bound = 0.5 * unit(exact, dtype) + 4 * 2.0**-24 * (terms + 0.1 * 4)
                assert (np.abs(wide(p) - exact) <= bound).all(), options
                exact[...] = wide(p)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("rule", OPTIONS)
def test_a_master_copy_is_the_float32_training(
    isa: str, rng: np.random.Generator, rule: str, dtype: np.dtype[Any]
) -> None:
    for options in OPTIONS[rule]:
        params = arrays(rng, SHAPES, dtype)
        full = [np.asarray(p).astype(np.float32) for p in params]
        mixed = getattr(ss, rule)(params, 0.1, master=True, **options)
        exact = getattr(ss, rule)(full, 0.1, **options)
        for _ in range(4):
            grads = arrays(rng, SHAPES, dtype)
            mixed.step(grads)
            exact.step([g.astype(np.float32) for g in grads])
        for p, q in zip(params, full, strict=True):
            np.testing.assert_array_equal(p, q.astype(dtype))


@pytest.mark.parametrize("rule", OPTIONS)
def test_bfloat16_state_costs_a_rounding_of_the_momentum(
    isa: str, rng: np.random.Generator, rule: str
) -> None:
    for dtype in (np.float32, BFLOAT16, FLOAT16):
        params = arrays(rng, SHAPES, dtype)
        options = {"momentum": 0.9} if rule == "SGD" else {}
        ours = getattr(ss, rule)(params, 0.1, state_dtype="bfloat16", **options)
        theirs = getattr(ref, rule)(params, 0.1, **options)
        name = "momentum_buffer" if rule == "SGD" else "exp_avg"
        for _ in range(3):
            grads = arrays(rng, SHAPES, dtype)
            ours.step(grads)
            theirs.step(grads)
            for k, exact in enumerate(theirs.params):
                rounding = 0.51 * (0 if dtype == np.float32 else unit(exact, dtype))
                # The momentum is off by 2^-8 of itself at most; it is at most 1.3 / (1 - 0.9).
                assert (np.abs(wide(params[k]) - exact) <= rounding + 0.1 * 13 * 2**-8).all()
                exact[...] = wide(params[k])
                buffer = ours.state_dict()[f"state.{k}.{name}"]
                assert buffer.dtype == np.uint16 and buffer.shape == exact.shape
                theirs.states[k][name] = wide(buffer.view(BFLOAT16))


def test_steps_below_the_resolution_are_lost_to_nearest_and_kept_by_chance() -> None:
    """1000 steps of 1e-3 from 1: exactly 0. In bfloat16 1 - 1e-3 is rounded to 1."""
    g = [np.ones(1024, BFLOAT16)]
    lost, kept, copied = (np.ones(1024, BFLOAT16) for _ in range(3))
    nearest = ss.SGD([lost], 1e-3)
    chance = ss.SGD([kept], 1e-3, stochastic_rounding=True, seed=7)
    master = ss.SGD([copied], 1e-3, master=True)
    for _ in range(1000):
        for optimizer in (nearest, chance, master):
            optimizer.step(g)
    assert (wide(lost) == 1).all()
    assert (np.abs(wide(copied)) < 1e-4).all()
    # An element walks by units of at most 2^-8: sqrt(1000 * 2^-8 * 1e-3) = 0.06 is its deviation.
    assert abs(wide(kept).mean()) < 4 * 0.06 / np.sqrt(1024)
    assert 0.005 < wide(kept).std() < 0.06


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_stochastic_rounding_is_unbiased_and_to_a_neighbour(isa: str, dtype: np.dtype[Any]) -> None:
    n, eps = 40_000, float(ml_dtypes.finfo(dtype).eps)
    for part in (0.125, 0.5, 0.9):
        for sign in (1.0, -1.0):
            p, g = np.full(n, sign, dtype), np.full(n, -sign, dtype)
            ss.SGD([p], eps * part, stochastic_rounding=True, seed=3).step([g])
            up = np.abs(wide(p)) == 1 + eps
            assert ((np.abs(wide(p)) == 1) | up).all()
            # Five deviations of a mean of n flips.
            assert abs(up.mean() - part) < 5 * np.sqrt(part * (1 - part) / n)


def test_stochastic_rounding_leaves_what_is_exact(isa: str) -> None:
    for dtype in HALVES:
        p = np.array([0.0, 1.0, -2.0, np.inf, -np.inf, np.nan, 3.0], dtype)
        ss.SGD([p], 1.0, stochastic_rounding=True).step([np.zeros(7, dtype)])
        np.testing.assert_array_equal(wide(p), [0, 1, -2, np.inf, -np.inf, np.nan, 3])


def test_the_seed_and_the_step_decide(isa: str, rng: np.random.Generator) -> None:
    (start,), grads = arrays(rng, [(999,)], BFLOAT16), arrays(rng, [(999,)] * 3, BFLOAT16)

    def trained(seed: int, threads: int) -> NDArray[Any]:
        p = start.copy()
        sgd = ss.SGD([p], 1e-3, stochastic_rounding=True, seed=seed)
        with ss.threads(threads):
            for g in grads:
                sgd.step([g])
        return p

    for threads in (2, 3):
        np.testing.assert_array_equal(trained(0, 1), trained(0, threads))
    assert (trained(0, 1) != trained(1, 1)).any()
    # The same gradient at another step, or at another place, is rounded in another way.
    p = np.ones((2, 500), BFLOAT16)
    sgd = ss.SGD([p[0], p[1]], 2.0**-8, stochastic_rounding=True)
    sgd.step([np.full(500, 0.5, BFLOAT16)] * 2)
    assert 100 < (p[0] != p[1]).sum() < 400
    assert 50 < (wide(p[0]) == 1).sum() < 450


@pytest.mark.parametrize("rule", OPTIONS)
def test_bits_are_bfloat16(isa: str, rng: np.random.Generator, rule: str) -> None:
    params = arrays(rng, SHAPES, BFLOAT16)
    bits = [p.copy().view(np.uint16) for p in params]
    first = getattr(ss, rule)(params, 0.1, max_norm=3.0)
    second = getattr(ss, rule)(bits, 0.1, max_norm=3.0, bfloat16_bits=True)
    for _ in range(2):
        grads = arrays(rng, SHAPES, BFLOAT16)
        result = second.step([g.view(np.uint16) for g in grads])
        assert first.step(grads) == result and result.norm == pytest.approx(ref.global_norm(grads))
    for p, q in zip(params, bits, strict=True):
        np.testing.assert_array_equal(p.view(np.uint16), q)


def test_what_does_not_fit_half_precision() -> None:
    p = np.ones(3, BFLOAT16)
    with pytest.raises(ValueError, match=r"^master: "):
        ss.SGD([p], 0.1, master=True, stochastic_rounding=True)
    with pytest.raises(ValueError, match=r"^state_dtype: expected None or 'bfloat16'"):
        ss.SGD([p], 0.1, momentum=0.9, state_dtype="float16")
    with pytest.raises(ValueError, match=r"^state_dtype: "):
        ss.AdamW([np.ones(3)], 0.1, state_dtype="bfloat16")
    with pytest.raises(TypeError, match=r"^params\[0\]: expected .*got uint16"):
        ss.SGD([np.zeros(3, np.uint16)], 0.1)
    with pytest.raises(TypeError, match=r"^grads\[0\]: expected bfloat16, got float32"):
        ss.SGD([p], 0.1).step([np.ones(3, np.float32)])
    assert (wide(p) == 1).all()
