"""SGD and AdamW against the reference over every option, step by step, on every ISA level."""

from typing import Any

import numpy as np
import pytest

import softstep as ss
from tests import reference as ref
from tests.support.cases import DTYPES, LAYOUTS, assert_within, roundoff, unaligned
from tests.support.optimizer_cases import OPTIONS, SHAPES, arrays

RULES = ["SGD", "AdamW"]


class Twin:
    """Our optimizer beside the reference, whose parameters are set to ours after each step.

    The bound: a rounding for each operation, on the parameter and on a step of the same gradients
    without their signs, in which nothing cancels.
    """

    def __init__(self, rule: str, params: list[Any], lr: float, **options: Any) -> None:
        self.ours = getattr(ss, rule)(params, lr, **options)
        self.theirs = getattr(ref, rule)(params, lr, **options)
        plain = {**options, "weight_decay": 0.0, "decay_by_lr": True, "maximize": False}
        self.unsigned = getattr(ref, rule)([0 * p for p in params], lr, **plain)
        self.params = params

    def step(self, grads: list[Any], **keywords: Any) -> None:
        before = [p.copy() for p in self.theirs.params + self.unsigned.params]
        copies = [None if g is None else g.copy() for g in grads]
        self.unsigned.step([None if g is None else np.abs(g) for g in grads], **keywords)
        result, expected = self.ours.step(grads, **keywords), self.theirs.step(copies, **keywords)
        assert result.skipped == expected.skipped
        assert result.norm == (
            None if expected.norm is None else pytest.approx(expected.norm, rel=1e-12)
        )
        for p, right, there, start, reach in zip(
            self.params, self.theirs.params, self.unsigned.params, *halves(before), strict=True
        ):
            size = np.abs(start) + np.abs(right) + np.abs(there - reach)
            assert_within(p, right, roundoff(p.dtype) * size)
            right[...] = p


def halves(items: list[Any]) -> tuple[list[Any], list[Any]]:
    return items[: len(items) // 2], items[len(items) // 2 :]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", RULES)
def test_every_combination_step_by_step(
    isa: str, rng: np.random.Generator, rule: str, dtype: Any
) -> None:
    for options in OPTIONS[rule]:
        twin = Twin(rule, arrays(rng, SHAPES, dtype), 0.3, **options)
        for _ in range(3):
            twin.step(arrays(rng, SHAPES, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", RULES)
def test_sizes_around_the_vectors(
    isa: str, rng: np.random.Generator, rule: str, dtype: Any
) -> None:
    shapes = [
        (n,) for n in (1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 129, 1023, 1025, 70_001)
    ]
    twin = Twin(rule, arrays(rng, shapes, dtype), 0.3, weight_decay=0.01, max_norm=100.0)
    for _ in range(2):
        twin.step(arrays(rng, shapes, dtype))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rule", RULES)
def test_any_layout_of_params_and_grads(
    isa: str, rng: np.random.Generator, layout: str, rule: str
) -> None:
    shapes: list[tuple[int, ...]] = [(6, 5), (33,), (2, 3, 4), (0, 3), (1,)]
    lay = LAYOUTS[layout]
    for dtype in DTYPES:
        params = [lay(p) for p in arrays(rng, shapes, dtype)]
        twin = Twin(rule, params, 0.3, weight_decay=0.1, max_norm=1.0)
        for zero in (False, True):
            grads = [lay(g) for g in arrays(rng, shapes, dtype)]
            twin.step(grads, zero_grads=zero)
            assert all(zero != g.any() for g in grads if g.size)
        for p in params:
            whole = p
            while isinstance(whole.base, np.ndarray):
                whole = whole.base
            if layout in ("every_second", "padded_rows"):
                assert np.isnan(whole).sum() == whole.size - p.size, "wrote between the elements"


@pytest.mark.parametrize("rule", RULES)
def test_params_in_one_layout_and_grads_in_another(rng: np.random.Generator, rule: str) -> None:
    for of_param in LAYOUTS.values():
        params = [of_param(p) for p in arrays(rng, [(6, 5), (3, 7)], np.float32)]
        twin = Twin(rule, params, 0.1)
        for of_grad in LAYOUTS.values():
            twin.step([of_grad(g) for g in arrays(rng, [(6, 5), (3, 7)], np.float32)])


def test_mixed_dtypes_share_one_norm(isa: str, rng: np.random.Generator) -> None:
    params = [*arrays(rng, [(40,)], np.float32), *arrays(rng, [(3, 3)], np.float64)]
    grads = [*arrays(rng, [(40,)], np.float32), *arrays(rng, [(3, 3)], np.float64)]
    twin = Twin("SGD", params, 0.1, max_norm=0.1)
    twin.step(grads)
    assert ss.SGD(params, 0.1, max_norm=np.inf).step(grads).norm == pytest.approx(
        ref.global_norm(grads), rel=1e-12
    )


@pytest.mark.parametrize("rule", RULES)
def test_late_and_missing_gradients(isa: str, rng: np.random.Generator, rule: str) -> None:
    """Before the first gradient nothing moves; the bias corrections count from there."""
    params = arrays(rng, [(9,), (4, 2), (9,)])
    twin = Twin(rule, params, 0.1, weight_decay=0.1)
    never = params[2].copy()
    for late in (True, True, False, True, False):
        first, second, _ = arrays(rng, [(9,), (4, 2), (9,)])
        twin.step([first, None if late else second, None])
    np.testing.assert_array_equal(params[2], never)
    twin.step([None, None, None])
    assert twin.ours.steps == twin.theirs.steps == 6


@pytest.mark.parametrize("rule", RULES)
def test_unscale_then_clip(isa: str, rng: np.random.Generator, rule: str) -> None:
    params, grads = arrays(rng, [(50,)], np.float32), arrays(rng, [(50,)], np.float32)
    twin = Twin(rule, params, 0.1, max_norm=0.5)
    for scale in (1.0, 1024.0, 0.125):
        twin.step([g * np.float32(scale) for g in grads], grad_scale=scale)


def test_momentum_that_is_turned_on_later(rng: np.random.Generator) -> None:
    """The first gradient under momentum is the buffer, undamped, as torch has it."""
    (p,) = arrays(rng, [(9,)])
    twin = Twin("SGD", [p], 0.1, dampening=0.5)
    for momentum in (0.0, 0.9, 0.9, 0.0, 0.9):
        twin.ours.param_groups[0]["momentum"] = twin.theirs.options[0]["momentum"] = momentum
        twin.step(arrays(rng, [(9,)]))


def test_unaligned_half_of_a_buffer(isa: str, rng: np.random.Generator) -> None:
    params = [unaligned(p) for p in arrays(rng, [(33,), (5, 7)], np.float32)]
    twin = Twin("AdamW", params, 0.1)
    for _ in range(2):
        twin.step([unaligned(g) for g in arrays(rng, [(33,), (5, 7)], np.float32)])
