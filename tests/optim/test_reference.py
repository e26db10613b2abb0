"""The reference of the optimizers is torch.optim's step, and Optax's where they are one."""

from typing import Any

import numpy as np
import pytest

from tests import reference as ref
from tests.support.optimizer_cases import OPTIONS, SHAPES, TorchOptimizer, arrays, in_torch

RULES = {"SGD": ref.SGD, "AdamW": ref.AdamW}


def test_values_of_torch() -> None:
    """torch 2.13: p = 0, g = 1, lr = 1, momentum 0.9, dampening 0.5."""
    sgd = ref.SGD([np.zeros(())], 1.0, momentum=0.9, dampening=0.5)
    for p, b in [(-1.0, 1.0), (-2.4, 1.4), (-4.16, 1.76)]:
        sgd.step([np.ones(())])
        assert float(sgd.params[0]) == pytest.approx(p, rel=1e-15)
        assert float(sgd.states[0]["momentum_buffer"]) == pytest.approx(b, rel=1e-15)


def test_values_of_optax() -> None:
    """optax.sgd(1, momentum=0.9, nesterov=True), 0.2.8, is the same as torch's."""
    sgd = ref.SGD([np.zeros(())], 1.0, momentum=0.9, nesterov=True)
    for p in (-1.9, -4.61, -8.049):
        sgd.step([np.ones(())])
        assert float(sgd.params[0]) == pytest.approx(p, rel=1e-15)


def test_values_of_adamw_by_hand() -> None:
    """Its first step is lr * sign(g), whatever the size of g, beside the decay."""
    adamw = ref.AdamW([np.array([2.0, 2.0, 2.0])], 0.1, weight_decay=0.5, eps=0.0)
    adamw.step([np.array([1e-3, -7.0, 1e5])])
    np.testing.assert_allclose(adamw.params[0], [1.8, 2.0, 1.8], rtol=1e-15)
    # g = 1 and then 3: m = 0.1 * 3 + 0.09, v = 0.001 * 9 + 0.000999
    adamw = ref.AdamW([np.zeros(())], 1.0, weight_decay=0.0, eps=0.0)
    adamw.step([np.ones(())])
    adamw.step([np.full((), 3.0)])
    second = (0.39 / 0.19) / np.sqrt(0.009999 / 0.001999)
    assert float(adamw.params[0]) == pytest.approx(-1 - second, rel=1e-13)


@pytest.mark.parametrize("rule", RULES)
def test_torch_step_by_step_over_every_option(rule: str, rng: np.random.Generator) -> None:
    pytest.importorskip("torch")
    compared = [options for options in OPTIONS[rule] if in_torch(rule, options)]
    assert len(compared) >= 20
    for options in compared:
        start = arrays(rng, SHAPES)
        ours = RULES[rule](start, 0.3, **options)
        theirs = TorchOptimizer(rule, start, 0.3, **options)
        for _ in range(3):
            grads = arrays(rng, SHAPES)
            norms = ours.step(grads).norm, theirs.step(grads)
            assert norms[0] == (None if norms[1] is None else pytest.approx(norms[1], rel=1e-14))
            for p, q in zip(ours.params, theirs.params, strict=True):
                np.testing.assert_allclose(p, q, rtol=1e-13, atol=1e-13, err_msg=str(options))


@pytest.mark.parametrize("rule", RULES)
def test_groups_and_late_gradients_of_torch(rule: str, rng: np.random.Generator) -> None:
    shapes = [(4, 3), (3,), (5,)]
    start = arrays(rng, shapes)
    extra = {"momentum": 0.5} if rule == "SGD" else {"betas": (0.5, 0.9)}
    groups = [
        {"params": start[:1], "weight_decay": 0.2},
        {"params": start[1:], "lr": 0.05, **extra},
    ]
    common: dict[str, Any] = {"momentum": 0.9, "dampening": 0.3} if rule == "SGD" else {"eps": 1e-4}
    ours = RULES[rule](groups, 0.3, **common)
    theirs = TorchOptimizer(rule, groups, 0.3, **common)
    for late in (True, True, False, True, False):
        grads: list[Any] = arrays(rng, shapes)
        grads[2] = None if late else grads[2]
        ours.step(grads)
        theirs.step(grads)
        for p, q in zip(ours.params, theirs.params, strict=True):
            np.testing.assert_allclose(p, q, rtol=1e-13, atol=1e-13)


def test_decoupled_sgd_is_decay_and_then_the_step_without(rng: np.random.Generator) -> None:
    (start,) = arrays(rng, [(7,)])
    grads = arrays(rng, [(7,)] * 3)
    for decay_by_lr, factor in [(True, 1 - 0.3 * 0.2), (False, 1 - 0.2)]:
        whole = ref.SGD(
            [start], 0.3, momentum=0.9, weight_decay=0.2, decoupled=True, decay_by_lr=decay_by_lr
        )
        plain = ref.SGD([start], 0.3, momentum=0.9)
        for g in grads:
            plain.params[0] *= factor
            for optimizer in (whole, plain):
                optimizer.step([g])
        np.testing.assert_allclose(whole.params[0], plain.params[0], rtol=1e-14)


def test_scale_skip_and_zero(rng: np.random.Generator) -> None:
    start, grads = arrays(rng, [(4,), (2, 3)]), arrays(rng, [(4,), (2, 3)])
    plain = ref.SGD(start, 0.1, max_norm=0.5)
    scaled = ref.SGD(start, 0.1, max_norm=0.5, skip_nonfinite=True)
    plain.step(grads)
    result = scaled.step([g * 8 for g in grads], grad_scale=8.0)
    assert result == (pytest.approx(ref.global_norm(grads), rel=1e-15), False)
    np.testing.assert_allclose(
        np.concatenate([p.ravel() for p in scaled.params]),
        np.concatenate([p.ravel() for p in plain.params]),
        rtol=1e-15,
    )
    before = [p.copy() for p in scaled.params]
    bad = [grads[0], np.full((2, 3), np.inf)]
    assert scaled.step(bad, zero_grads=True) == (np.inf, True)
    assert scaled.steps == 1 and np.isinf(bad[1]).all()
    for p, q in zip(scaled.params, before, strict=True):
        np.testing.assert_array_equal(p, q)
    scaled.step(grads, zero_grads=True)
    assert not any(g.any() for g in grads) and scaled.steps == 2
