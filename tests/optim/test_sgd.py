"""SGD: the step of torch.optim.SGD on a list of arrays, in place."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import softstep as ss
from tests import reference as ref
from tests.support.cases import DTYPES, LAYOUTS, assert_within, read_only, roundoff, unaligned

SHAPES: list[tuple[int, ...]] = [(3, 4), (5,), (), (0,), (2, 3, 17), (1025,)]
GRID = {
    "momentum": (0.0, 0.9),
    "dampening": (0.0, 0.5),
    "weight_decay": (0.0, 0.1),
    "nesterov": (False, True),
    "decoupled": (False, True),
    "maximize": (False, True),
}


def combinations() -> list[dict[str, Any]]:
    every = [dict(zip(GRID, values, strict=True)) for values in itertools.product(*GRID.values())]
    return [o for o in every if not o["nesterov"] or (o["momentum"] and not o["dampening"])]


def arrays(rng: np.random.Generator, shapes: Any, dtype: Any) -> list[Any]:
    return [np.asarray(rng.normal(size=shape).astype(dtype)) for shape in shapes]


class Twin:
    """Our optimizer beside the reference. The bound: the same steps on absolute values."""

    def __init__(self, params: list[Any], lr: Any, **options: Any) -> None:
        self.ours, self.theirs = ss.SGD(params, lr, **options), ref.SGD(params, lr, **options)
        growth = {**options, "maximize": True, "weight_decay": 0.0}
        self.size = ref.SGD([np.abs(p) for p in params], lr, **growth)
        self.params = params

    def step(self, grads: list[Any], **options: Any) -> None:
        self.ours.step(grads, **options)
        self.theirs.step(grads, **options)
        self.size.step([np.abs(g) for g in grads], **options)

    def check(self) -> None:
        for p, expected, size in zip(
            self.params, self.theirs.params, self.size.params, strict=True
        ):
            assert_within(p, expected, self.theirs.steps * roundoff(p.dtype) * size)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_combination_step_by_step(isa: str, rng: np.random.Generator, dtype: Any) -> None:
    for options in combinations():
        twin = Twin(arrays(rng, SHAPES, dtype), 0.3, **options)
        for _ in range(4):
            twin.step(arrays(rng, SHAPES, dtype))
            twin.check()


def test_values_of_torch(isa: str) -> None:
    """torch 2.13: p = 0, g = 1, lr = 1, momentum 0.9, dampening 0.5."""
    p = np.zeros(3)
    sgd = ss.SGD([p], 1.0, momentum=0.9, dampening=0.5)
    for expected in (-1, -2.4, -4.16):
        sgd.step([np.ones(3)])
        np.testing.assert_allclose(p, expected, rtol=1e-15)
    p = np.zeros(3)
    sgd = ss.SGD([p], 1.0, momentum=0.9, nesterov=True)
    for expected in (-1.9, -4.61, -8.049):
        sgd.step([np.ones(3)])
        np.testing.assert_allclose(p, expected, rtol=1e-15)


def test_weight_decay_is_twice_the_penalty(isa: str, rng: np.random.Generator) -> None:
    """w <- (1 - 2 lr lambda) w - lr g, coupled or not while there is no momentum."""
    lr, lam = 0.1, 0.05
    for decoupled in (False, True):
        w, g = rng.normal(size=(2, 50))
        expected = (1 - 2 * lr * lam) * w - lr * g
        ss.SGD([w], lr, weight_decay=2 * lam, decoupled=decoupled).step([g])
        np.testing.assert_allclose(w, expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_of_params_and_grads(
    isa: str, rng: np.random.Generator, layout: str, dtype: Any
) -> None:
    shapes = [(6, 5), (33,), (2, 3, 4)]
    options = {"momentum": 0.9, "weight_decay": 0.1}
    lay = LAYOUTS[layout]
    params = [lay(p) for p in arrays(rng, shapes, dtype)]
    twin = Twin(params, 0.3, **options)
    for _ in range(3):
        twin.step([lay(g) for g in arrays(rng, shapes, dtype)])
    twin.check()
    for p in params:
        whole = p
        while whole.base is not None and isinstance(whole.base, np.ndarray):
            whole = whole.base
        if layout in ("every_second", "padded_rows"):
            assert np.isnan(whole).sum() == whole.size - p.size, "wrote between the elements"


def test_many_elements_and_mixed_dtypes(isa: str, rng: np.random.Generator) -> None:
    sizes = [1, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 129, 1023, 300_007]
    params = [p for dtype in DTYPES for p in arrays(rng, [(n,) for n in sizes], dtype)]
    twin = Twin(params, 0.3, momentum=0.9, nesterov=True, weight_decay=0.01)
    for _ in range(2):
        twin.step([rng.normal(size=p.shape).astype(p.dtype) for p in params])
    twin.check()


def test_gradients_of_any_alignment(isa: str, rng: np.random.Generator) -> None:
    twin = Twin(arrays(rng, SHAPES, np.float32), 0.3, momentum=0.9)
    for _ in range(2):
        twin.step([unaligned(g) for g in arrays(rng, SHAPES, np.float32)])
    twin.check()


def test_blocks_of_one_matrix(isa: str, rng: np.random.Generator) -> None:
    """Interleaved in memory, but no element twice."""
    whole = rng.normal(size=(6, 10))
    expected = whole - 0.5
    for params in ([whole[:, :3], whole[:, 3:]], [whole[::2], whole[1::2]]):
        before = whole.copy()
        ss.SGD(params, 0.5).step([np.ones_like(p) for p in params])
        np.testing.assert_array_equal(whole, before - 0.5)
    np.testing.assert_array_equal(whole, expected - 0.5)


def test_a_parameter_without_gradient_is_left_alone(isa: str, rng: np.random.Generator) -> None:
    """Its first gradient, whenever it comes, is its first momentum, undamped (PyTorch)."""
    p, late = arrays(rng, [(9,), (9,)], np.float64)
    untouched, grads = late.copy(), arrays(rng, [(9,)] * 3, np.float64)
    options = {"momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1}
    sgd, alone = ss.SGD([p, late], 0.1, **options), ref.SGD([late], 0.1, **options)
    sgd.step([grads[0], None])
    np.testing.assert_array_equal(late, untouched)
    for g in grads[1:]:
        sgd.step([g, g])
        alone.step([g])
    assert_within(late, alone.params[0], 2 * roundoff(np.float64) * (1 + np.abs(late)))


def test_gradients_are_only_read(isa: str, rng: np.random.Generator) -> None:
    for options in combinations():
        p, g = arrays(rng, [(9,), (9,)], np.float32)
        before = g.copy()
        sgd = ss.SGD([p], 0.1, **options)
        for _ in range(2):
            sgd.step([read_only(g)])
            sgd.step([g])
        np.testing.assert_array_equal(g, before)


def test_a_rate_for_each_step(isa: str, rng: np.random.Generator) -> None:
    shapes = [(7,), (2, 5)]
    schedule = [0.5, 0.1, 0.02, 0.3]
    grads = [arrays(rng, shapes, np.float64) for _ in schedule]
    start = arrays(rng, shapes, np.float64)
    given = Twin([p.copy() for p in start], 9.0, momentum=0.9)
    called = Twin([p.copy() for p in start], lambda step: schedule[step], momentum=0.9)
    for rate, g in zip(schedule, grads, strict=True):
        given.step(g, lr=rate)
        called.step(g)
    given.check()
    called.check()
    for p, q in zip(given.params, called.params, strict=True):
        np.testing.assert_array_equal(p, q)
    assert given.ours.lr == 9.0
    given.ours.lr = given.theirs.lr = given.size.lr = 0.25
    given.step(grads[0])
    given.check()
    assert given.ours.params[0] is given.params[0]


def test_state_survives_a_file(isa: str, rng: np.random.Generator, tmp_path: Path) -> None:
    shapes = [(7,), (2, 5)]
    options = {"momentum": 0.9, "dampening": 0.5, "weight_decay": 0.01}
    rates = [0.5, 0.25, 0.125, 0.0625]
    params = arrays(rng, shapes, np.float32)
    grads = [arrays(rng, shapes, np.float32) for _ in rates]
    sgd = ss.SGD(params, lambda step: rates[step], **options)
    for g in grads[:2]:
        sgd.step(g)
    np.savez(tmp_path / "state.npz", **sgd.state_dict())
    copies = [p.copy() for p in params]
    resumed = ss.SGD(copies, lambda step: rates[step], **options)
    with np.load(tmp_path / "state.npz") as state:
        resumed.load_state_dict(dict(state))
    for g in grads[2:]:
        sgd.step(g)
        resumed.step(g)
    for p, q in zip(params, copies, strict=True):
        np.testing.assert_array_equal(p, q)
    other = ss.SGD([np.zeros(3, np.float32)], 0.1, **options)
    with pytest.raises((ValueError, KeyError)):
        other.load_state_dict(sgd.state_dict())
