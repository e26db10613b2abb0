"""Beside torch.optim itself: step by step over every option, and where its fused CPU path fails."""

from typing import Any

import numpy as np
import pytest

import softstep as ss
from tests.support.optimizer_cases import OPTIONS, SHAPES, TorchOptimizer, arrays, in_torch

torch = pytest.importorskip("torch")


def tensor_of(array: Any) -> Any:
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


@pytest.mark.parametrize("rule", OPTIONS)
def test_every_option_step_by_step(isa: str, rng: np.random.Generator, rule: str) -> None:
    """In float64, where the two differ by the order of operations alone."""
    for options in OPTIONS[rule]:
        if not in_torch(rule, options):
            continue
        params = arrays(rng, SHAPES)
        ours = getattr(ss, rule)(params, 0.3, **options)
        theirs = TorchOptimizer(rule, params, 0.3, **options)
        for _ in range(3):
            grads = arrays(rng, SHAPES)
            norm, expected = ours.step(grads).norm, theirs.step(grads)
            assert norm == (None if expected is None else pytest.approx(expected, rel=1e-14))
            for p, q in zip(params, theirs.params, strict=True):
                np.testing.assert_allclose(p, q, rtol=1e-13, atol=1e-13, err_msg=str(options))


@pytest.mark.parametrize("rule", OPTIONS)
def test_groups_and_layouts_on_the_memory_of_tensors(rng: np.random.Generator, rule: str) -> None:
    """Transposed, channels last and strided parameters, updated through views of the tensors."""
    own: dict[str, Any] = {"momentum": 0.9, "nesterov": True} if rule == "SGD" else {"eps": 1e-3}

    def made() -> list[Any]:
        matrix = torch.linspace(-1, 1, 12).reshape(3, 4).T
        image = torch.linspace(1, 2, 120).reshape(2, 3, 4, 5).to(memory_format=torch.channels_last)
        return [matrix, image, torch.linspace(0, 1, 31)[::2], torch.tensor(0.5)]

    ours, theirs = made(), [tensor.requires_grad_() for tensor in made()]
    split = [{"params": theirs[:2], "weight_decay": 0.1}, {"params": theirs[2:], "lr": 0.2}]
    peer = getattr(torch.optim, rule)(split, lr=0.1, **own)
    params = [tensor.numpy() for tensor in ours]
    groups = [{"params": params[:2], "weight_decay": 0.1}, {"params": params[2:], "lr": 0.2}]
    mine = getattr(ss, rule)(groups, 0.1, **own)
    for _ in range(3):
        grads = [np.asarray(g) for g in arrays(rng, [p.shape for p in params], np.float32)]
        for tensor, g in zip(theirs, grads, strict=True):
            tensor.grad = torch.from_numpy(g.copy())
        peer.step()
        mine.step(grads)
    for tensor, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(tensor, expected.detach(), rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
@pytest.mark.parametrize("n", [15, 16, 31, 1000])
def test_half_precision_parameters_move(isa: str, name: str, n: int) -> None:
    """torch 2.13's fused SGD leaves every whole vector of them unchanged."""
    dtype = np.dtype(name if name == "float16" else pytest.importorskip("ml_dtypes").bfloat16)
    p, g = np.ones(n, dtype), np.full(n, 2.0, dtype)
    tensor = tensor_of(p.copy()).requires_grad_()
    tensor.grad = tensor_of(g)
    torch.optim.SGD([tensor], lr=0.125, foreach=False).step()
    ss.SGD([p], 0.125).step([g])
    assert (p.astype(np.float32) == 0.75).all()
    assert (tensor == 0.75).all()


@pytest.mark.parametrize("rule", OPTIONS)
def test_a_strided_view_is_all_that_is_written(isa: str, rule: str) -> None:
    """torch 2.13's fused step walks over the memory as if it were dense."""
    for step in (2, 3, -1, -2):
        base = np.zeros(64, np.float32)
        view = base[::step]
        plain = np.zeros(view.shape, np.float32)
        for p in (view, plain):
            optimizer = getattr(ss, rule)([p], 0.1)
            for _ in range(2):
                optimizer.step([np.ones(p.shape, np.float32)])
        assert (plain < 0).all()
        np.testing.assert_array_equal(view, plain)
        np.testing.assert_array_equal(base != 0, np.isin(np.arange(64), np.arange(64)[::step]))


@pytest.mark.parametrize("rule", OPTIONS)
def test_a_first_gradient_that_comes_late(rng: np.random.Generator, rule: str) -> None:
    """torch 2.13's fused SGD fails in the step in which the list of momenta has a None."""
    own: dict[str, Any] = {"momentum": 0.9, "dampening": 0.5} if rule == "SGD" else {}
    params = arrays(rng, [(5,), (20,)], np.float32)
    theirs = TorchOptimizer(rule, params, 0.1, **own)
    ours = getattr(ss, rule)(params, 0.1, **own)
    for late in (True, False, False):
        first, second = arrays(rng, [(5,), (20,)], np.float32)
        grads = [first, None if late else second]
        ours.step(grads)
        theirs.step(grads)
    for p, q in zip(params, theirs.params, strict=True):
        np.testing.assert_allclose(p, q, rtol=2e-6, atol=1e-6)


def test_gradients_stay_where_foreach_changes_them() -> None:
    """torch 2.13's foreach step with nesterov leaves momentum in the gradient."""
    p, g = np.zeros(5, np.float32), np.full(5, 2.0, np.float32)
    sgd = ss.SGD([p], 0.1, momentum=0.9, nesterov=True, max_norm=1.0)
    for scale in (1.0, 4.0):
        sgd.step([g], grad_scale=scale)
    assert (g == 2).all()


@pytest.mark.parametrize("rule", ["sgd", "adamw"])
def test_optax(rng: np.random.Generator, rule: str) -> None:
    """A chain of clip, decay and rule is the same step, but for the 1e-6 beside the norm."""
    optax = pytest.importorskip("optax")
    jax = pytest.importorskip("jax")
    params = arrays(rng, [(3, 4), (5,)], np.float32)
    clip = optax.clip_by_global_norm(1.0)
    if rule == "sgd":
        chain = optax.chain(
            clip, optax.add_decayed_weights(0.1), optax.sgd(0.1, momentum=0.9, nesterov=True)
        )
        ours: Any = ss.SGD(params, 0.1, momentum=0.9, nesterov=True, weight_decay=0.1, max_norm=1.0)
    else:
        chain = optax.chain(clip, optax.adamw(0.1, 0.8, 0.9, weight_decay=0.1))
        ours = ss.AdamW(params, 0.1, betas=(0.8, 0.9), weight_decay=0.1, max_norm=1.0)
    theirs = [p.copy() for p in params]
    state = jax.jit(chain.init)(theirs)

    @jax.jit  # compiled as one: eagerly each operation is
    def step(params: Any, state: Any, grads: Any) -> Any:
        updates, state = chain.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    for _ in range(3):
        grads = arrays(rng, [(3, 4), (5,)], np.float32)
        theirs, state = step(theirs, state, grads)
        ours.step(grads)
    for p, q in zip(params, theirs, strict=True):
        np.testing.assert_allclose(p, q, rtol=2e-5, atol=5e-6)
