"""Copies and pickles of optimizers, which go on to the same bits."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import softstep as ss
from softstep import schedules
from tests.support.cases import LAYOUTS
from tests.support.optimizer_cases import arrays

ml_dtypes = pytest.importorskip("ml_dtypes")
SHAPES: list[tuple[int, ...]] = [(40,), (2, 5), (), (3,), (2, 3, 4)]
RULES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9, "dampening": 0.5}),
    ("AdamW", {}),
    ("AdamW", {"amsgrad": True, "max_norm": 1.0}),
]
WAYS: list[dict[str, Any]] = [
    {"master": True},
    {"stochastic_rounding": True, "seed": 5},
    {"state_dtype": "bfloat16"},
    {"skip_nonfinite": True},
]
COPIES = {
    "deepcopy": copy.deepcopy,
    **{f"pickle {n}": lambda o, n=n: pickle.loads(pickle.dumps(o, n)) for n in (2, 4, 5)},
}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize(("rule", "options"), RULES, ids=str)
def test_a_copy_goes_on_to_the_same_bits(
    rng: np.random.Generator, rule: str, options: dict[str, Any], dtype: Any, way: str
) -> None:
    for ways in [{}, *(WAYS if dtype != np.float64 else WAYS[3:])]:
        params = arrays(rng, SHAPES, dtype)
        params[1] = np.asfortranarray(params[1])
        rate = schedules.warmup(schedules.cosine(0.1, 10), 3)
        groups = [{"params": params[:2]}, {"params": params[2:], "lr": 0.03}]
        first = getattr(ss, rule)(groups, rate, **options, **ways)
        made = [COPIES[way](first)]  # before a step, and after some
        for _ in range(2):
            grads = [*arrays(rng, SHAPES[:-1], dtype), None]
            for optimizer in (first, *made):
                optimizer.step(grads)
        made.append(COPIES[way](first))
        before = [p.copy() for p in first.params]
        for _ in range(2):
            grads = arrays(rng, SHAPES, dtype)
            results = [optimizer.step(grads) for optimizer in (first, *made)]
            assert results[1:] == results[:1] * 2
        for other in made:
            assert other.steps == first.steps == 4
            state = other.state_dict()
            for key, value in first.state_dict().items():
                np.testing.assert_array_equal(state[key], value, err_msg=key)
            for p, q, old in zip(other.params, first.params, before, strict=True):
                assert not np.shares_memory(p, q)
                np.testing.assert_array_equal(p, q)
                assert p.size < 5 or np.any(p != old)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_deep_copy_of_any_layout(rng: np.random.Generator, layout: str) -> None:
    params = [LAYOUTS[layout](p) for p in arrays(rng, [(6, 5), (2, 3, 4)])]
    first = ss.AdamW(params, 0.1)
    first.step(arrays(rng, [(6, 5), (2, 3, 4)]))
    other = copy.deepcopy(first)
    grads = arrays(rng, [(6, 5), (2, 3, 4)])
    first.step(grads)
    other.step(grads)
    for p, q in zip(first.params, other.params, strict=True):
        np.testing.assert_array_equal(p, q)


@pytest.mark.parametrize("way", COPIES)
def test_a_model_and_its_optimizer_stay_together(way: str) -> None:
    """Copied in one, the copy steps the parameters of the model's copy."""
    model = {"w": np.ones((2, 2)), "b": np.zeros(2)}
    sgd = ss.SGD(list(model.values()), 0.5, momentum=0.9)
    other, optimizer = COPIES[way]((model, sgd))
    optimizer.step([np.ones((2, 2)), np.ones(2)])
    np.testing.assert_array_equal(other["w"], np.full((2, 2), 0.5))
    np.testing.assert_array_equal(other["b"], [-0.5, -0.5])
    assert (model["w"] == 1).all()
    optimizer.param_groups[0]["lr"] = 1.0
    assert sgd.param_groups[0]["lr"] == 0.5


def test_bits_of_bfloat16() -> None:
    sgd = ss.SGD([np.full(3, 0x3F80, np.uint16)], 0.5, bfloat16_bits=True, master=True)
    other = copy.deepcopy(sgd)
    for optimizer in (sgd, other):
        optimizer.step([np.full(3, 0x3F80, np.uint16)])
    np.testing.assert_array_equal(sgd.params[0], other.params[0])
    assert sgd.params[0][0] == 0x3F00
