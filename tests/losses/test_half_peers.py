"""Half precision, N x C x H x W and the newer options: the same numbers as PyTorch, JAX, Optax."""

import itertools
from typing import Any

import numpy as np
import pytest

import softstep as ss
from tests.support.cases import assert_within, roundoff
from tests.support.cross_entropy_check import half_ulp

ml_dtypes = pytest.importorskip("ml_dtypes")
bfloat16 = np.dtype(ml_dtypes.bfloat16)
HALVES = [np.dtype(np.float16), bfloat16]
# N x C x H x W and its relatives; the class axis is PyTorch's.
SHAPES = [(7, 3), (5, 129), (4, 6, 3), (2, 5, 3, 4), (2, 40, 3, 2)]


def in_torch(torch: Any, x: Any) -> Any:
    """NumPy's bfloat16 by its bits."""
    if x.dtype != bfloat16:
        return torch.tensor(x)
    return torch.tensor(x.view(np.int16)).view(torch.bfloat16)


def single(tensor: Any) -> Any:
    return tensor.detach().float().numpy()


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_torch_computes_in_float32(rng: np.random.Generator, dtype: Any, reduction: str) -> None:
    """PyTorch on the same numbers in float32, weights and losses; gradients rounded once by us."""
    torch = pytest.importorskip("torch")
    for shape, smoothing in itertools.product(SHAPES, (0.0, 0.3)):
        classes, batch = shape[1], (shape[0], *shape[2:])
        x = rng.normal(scale=3, size=shape).astype(dtype)
        index = rng.integers(0, classes, batch)
        index[rng.uniform(size=batch) < 0.3] = -100
        index.flat[0] = 0
        weight = rng.uniform(0.25, 2, classes).astype(np.float32)
        for target in (index, rng.uniform(size=shape).astype(np.float32)):
            leaf = in_torch(torch, x).float().requires_grad_()
            expected = torch.nn.functional.cross_entropy(
                leaf,
                torch.tensor(target),
                weight=torch.tensor(weight),
                label_smoothing=smoothing,
                reduction=reduction,
            )
            expected.sum().backward()
            options = {"weight": weight, "label_smoothing": smoothing, "reduction": reduction}
            loss, gradient = ss.cross_entropy_with_grad(x, target, axis=1, **options)
            # Both round: twice the bound of one. Mass of a row at most 2 classes, |x| below 16.
            mass = 2.0 * (classes if target is not index else 1)
            unit = 2 * roundoff(np.float32, classes) * mass
            rows = np.prod(batch) if reduction == "sum" else 1
            assert_within(loss, single(expected), 32 * unit * rows, np.float32)
            slope = single(leaf.grad)
            assert_within(gradient.astype("f4"), slope, 4 * unit + half_ulp(slope, dtype))


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_torch_in_half_precision(rng: np.random.Generator, dtype: Any) -> None:
    """PyTorch's own half results differ by its own roundings: of the loss, and of log p."""
    torch = pytest.importorskip("torch")
    eps = 2.0**-10 if dtype == np.float16 else 2.0**-7
    for shape in SHAPES:
        x = rng.normal(scale=3, size=shape).astype(dtype)
        index = rng.integers(0, shape[1], (shape[0], *shape[2:]))
        leaf = in_torch(torch, x).requires_grad_()
        expected = torch.nn.functional.cross_entropy(leaf, torch.tensor(index))
        expected.backward()
        loss, gradient = ss.cross_entropy_with_grad(x, index, axis=1)
        assert loss == pytest.approx(expected.item(), rel=2 * eps, abs=2 * eps)
        # log p below 32 in half precision, then exp.
        rows = index.size
        assert_within(gradient.astype("f4"), single(leaf.grad), 32 * eps / rows)
        p = single(torch.softmax(in_torch(torch, x), 1))
        ours = ss.softmax(x, axis=1).astype("f4")
        # Each rounds once: two neighbours of a number of this size.
        assert_within(ours, p, 2 * half_ulp(p, dtype) + roundoff(np.float32, shape[1]))
        # PyTorch's log_softmax loses the digits of log p near 0 in half precision.
        wide = in_torch(torch, x).float()
        for name in ("log_softmax", "logsumexp"):
            y = single(getattr(torch, name)(wide, 1))
            ours = getattr(ss, name)(x, axis=1).astype("f4")
            assert_within(ours, y, half_ulp(y, dtype) + 64 * roundoff(np.float32, shape[1]))


@pytest.mark.parametrize("dtype", [np.float32, *HALVES], ids=str)
def test_torch_channels_last_and_views(rng: np.random.Generator, dtype: Any) -> None:
    """N x C x H x W stored as N x H x W x C, transposed and cut: no copy, the same numbers."""
    torch = pytest.importorskip("torch")
    stored = rng.normal(scale=3, size=(2, 6, 5, 10)).astype(dtype)
    for x in (stored.transpose(0, 3, 1, 2), stored[:, ::2, 1:], stored.swapaxes(1, 3)[::-1]):
        index = rng.integers(0, x.shape[1], (x.shape[0], *x.shape[2:]))
        leaf = in_torch(torch, np.ascontiguousarray(x)).float().requires_grad_()
        expected = torch.nn.functional.cross_entropy(leaf, torch.tensor(index))
        expected.backward()
        loss, gradient = ss.cross_entropy_with_grad(x, index, axis=1)
        unit = roundoff(np.float32, x.shape[1])
        assert_within(loss, expected.item(), 64 * unit, np.float32)
        slope = single(leaf.grad)
        assert_within(gradient.astype("f4"), slope, 8 * unit + half_ulp(slope, dtype))


def test_torch_extensions(rng: np.random.Generator) -> None:
    """Softcap, temperature, z-loss, smoothing over the others and sparse targets, by autograd."""
    torch = pytest.importorskip("torch")
    x, index = rng.normal(scale=3, size=(6, 40)), rng.integers(0, 40, (6, 3))
    q = rng.uniform(size=(6, 3))
    unit = 64 * roundoff(np.float64, 40)
    leaf, mass = torch.tensor(x, requires_grad=True), torch.tensor(q, requires_grad=True)
    temperature = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    z = 5 * torch.tanh(leaf / 5) / temperature
    logp, lse = torch.log_softmax(z, 1), torch.logsumexp(z, 1)
    expected = (-(mass * logp.gather(1, torch.tensor(index))).sum(1) + 0.1 * lse**2).mean()
    expected.backward()
    options = {"softcap": 5.0, "temperature": 0.7, "z_loss": 0.1, "target_probabilities": q}
    extra = ("dtemperature", "dtarget", "lse")
    loss, gradient, results = ss.cross_entropy_with_grad(x, index, extra=extra, **options)
    assert_within(loss, expected.item(), 16 * unit, np.float64)
    assert_within(gradient, leaf.grad.numpy(), 8 * unit)
    assert_within(results["dtemperature"], temperature.grad.item(), 64 * unit, np.float64)
    assert_within(results["dtarget"], mass.grad.numpy(), 16 * unit)
    assert_within(results["lse"], lse.detach().numpy(), 8 * unit)

    leaf = torch.tensor(x, requires_grad=True)
    logp = torch.log_softmax(leaf, 1)
    own = logp.gather(1, torch.tensor(index[:, :1]))[:, 0]
    expected = -(0.7 * own + 0.3 * (logp.sum(1) - own) / 39).mean()
    expected.backward()
    options = {"label_smoothing": 0.3, "smoothing": "exclude_target"}
    loss, gradient = ss.cross_entropy_with_grad(x, index[:, 0], **options)
    assert_within(loss, expected.item(), 16 * unit, np.float64)
    assert_within(gradient, leaf.grad.numpy(), 8 * unit)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_jax_and_optax(rng: np.random.Generator, dtype: Any) -> None:
    jax = pytest.importorskip("jax")
    optax = pytest.importorskip("optax")
    for shape in [(7, 3), (33, 10), (5, 129)]:
        x, where = rng.normal(scale=3, size=shape).astype(dtype), rng.uniform(size=shape) < 0.7
        wide, unit = x.astype(np.float32), 2 * roundoff(np.float32, shape[1])
        target = rng.integers(0, shape[1], shape[0])
        losses = optax.losses.softmax_cross_entropy_with_integer_labels(wide, target)
        ours = ss.cross_entropy(x, target, reduction="none")
        assert_within(ours, losses, 16 * unit, np.float32)
        where[:, 0] = True
        for mask in (None, where):
            p = np.asarray(jax.nn.softmax(wide, where=mask))
            assert_within(ss.softmax(x, where=mask).astype("f4"), p, 16 * unit + half_ulp(p, dtype))
            lse = np.asarray(jax.nn.logsumexp(wide, axis=1, where=mask))
            ours = ss.logsumexp(x, where=mask).astype("f4")
            assert_within(ours, lse, 16 * unit + half_ulp(lse, dtype))


def test_scipy_axes(rng: np.random.Generator) -> None:
    special = pytest.importorskip("scipy.special")
    x = rng.normal(scale=3, size=(3, 4, 5)).astype(np.float32)
    for axis in (None, (0, 2), (1,), -1):
        for name in ("softmax", "log_softmax", "logsumexp"):
            expected = np.asarray(getattr(special, name)(x, axis=axis))
            assert_within(getattr(ss, name)(x, axis=axis), expected, 32 * roundoff(np.float32, 60))
