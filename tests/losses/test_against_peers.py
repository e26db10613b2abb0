"""The same numbers as PyTorch, JAX with Optax, SciPy and scikit-learn, where they are installed."""

import itertools
from typing import Any

import numpy as np
import pytest

import softstep as ss
from tests.support.cases import DTYPES, logits_for, roundoff

SHAPES = [(7, 3), (33, 10), (5, 129), (4, 6, 3), (2, 5, 3, 4)]


def close(actual: Any, expected: Any, dtype: Any, size: float = 8.0) -> None:
    """Both sides round: twice the bound of one, relative to terms of the size of the logits."""
    limit = 2 * roundoff(dtype, 129)
    np.testing.assert_allclose(actual, np.asarray(expected), rtol=limit, atol=limit * size)


@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_cross_entropy(rng: np.random.Generator, dtype: Any) -> None:
    torch = pytest.importorskip("torch")
    grid = itertools.product(SHAPES, (False, True), (0.0, 0.3), ("none", "sum", "mean"))
    for shape, weighted, smoothing, reduction in grid:
        x = logits_for(rng, shape, dtype)
        classes, rows = shape[1], (shape[0], *shape[2:])
        index = rng.integers(0, classes, rows)
        index[rng.uniform(size=rows) < 0.3] = -100
        index.flat[0] = 0
        q = rng.uniform(size=shape).astype(dtype)
        weight = rng.uniform(0.25, 2, classes).astype(dtype) if weighted else None
        for target in (index, q):
            leaf = torch.tensor(x, requires_grad=True)
            expected = torch.nn.functional.cross_entropy(
                leaf,
                torch.tensor(target),
                weight=None if weight is None else torch.tensor(weight),
                label_smoothing=smoothing,
                reduction=reduction,
            )
            expected.sum().backward()
            options = {"weight": weight, "label_smoothing": smoothing, "reduction": reduction}
            loss, gradient = ss.cross_entropy_with_grad(x, target, axis=1, **options)
            size = classes * (int(np.prod(rows)) if reduction == "sum" else 1)
            close(loss, expected.detach(), dtype, 8.0 * size if target is q else 8.0)
            close(gradient, leaf.grad, dtype, float(classes) if target is q else 2.0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_softmax_and_its_backward(rng: np.random.Generator, dtype: Any) -> None:
    torch = pytest.importorskip("torch")
    for shape in SHAPES:
        for axis in range(len(shape)):
            x, dy = logits_for(rng, shape, dtype), logits_for(rng, shape, dtype)
            for name in ("softmax", "log_softmax"):
                leaf = torch.tensor(x, requires_grad=True)
                y = getattr(torch, name)(leaf / 2, axis)
                y.backward(torch.tensor(dy))
                ours = getattr(ss, name)(x, axis=axis, temperature=2.0)
                close(ours, y.detach(), dtype, 2.0)
                backward = getattr(ss, f"{name}_backward")
                dx = backward(dy, ours, axis=axis, temperature=2.0)
                close(dx, leaf.grad, dtype, 8.0 * shape[axis])


@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_losses_of_the_other_tasks(rng: np.random.Generator, dtype: Any) -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    x, y = rng.normal(size=(2, 33, 10)).astype(dtype)
    for reduction in ("none", "sum", "mean"):
        leaf = torch.tensor(x, requires_grad=True)
        expected = functional.mse_loss(leaf, torch.tensor(y), reduction=reduction)
        expected.sum().backward()
        loss, gradient = ss.squared_error_with_grad(x, y, reduction=reduction)
        close(loss, expected.detach(), dtype)
        close(gradient, leaf.grad, dtype)


def sgd_options() -> list[dict[str, Any]]:
    names = ("momentum", "dampening", "weight_decay", "nesterov", "maximize")
    grid = itertools.product((0.0, 0.9), (0.0, 0.5), (0.0, 0.1), (False, True), (False, True))
    every = [dict(zip(names, values, strict=True)) for values in grid]
    return [o for o in every if not o["nesterov"] or (o["momentum"] and not o["dampening"])]


@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_sgd_step_by_step(rng: np.random.Generator, dtype: Any) -> None:
    torch = pytest.importorskip("torch")
    shapes = [(3, 4), (5,), (2, 3, 17)]
    for options in sgd_options():
        params = [rng.normal(size=shape).astype(dtype) for shape in shapes]
        leaves = [torch.tensor(p.copy(), requires_grad=True) for p in params]
        theirs = torch.optim.SGD(leaves, lr=0.3, foreach=False, **options)
        ours = ss.SGD(params, 0.3, **options)
        for rate in (0.3, 0.3, 0.1, 0.5):
            grads = [rng.normal(size=shape).astype(dtype) for shape in shapes]
            for leaf, g in zip(leaves, grads, strict=True):
                leaf.grad = torch.tensor(g)
            theirs.param_groups[0]["lr"] = rate
            theirs.step()
            ours.step(grads, lr=rate)
            for p, leaf in zip(params, leaves, strict=True):
                close(p, leaf.detach(), dtype, 4.0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_scipy_softmax(rng: np.random.Generator, dtype: Any) -> None:
    special = pytest.importorskip("scipy.special")
    for shape in SHAPES:
        x = logits_for(rng, shape, dtype)
        for axis in range(len(shape)):
            for name in ("softmax", "log_softmax", "logsumexp"):
                expected = getattr(special, name)(x, axis=axis)
                close(getattr(ss, name)(x, axis=axis), expected, dtype, 1.0)
            p = special.softmax(x.astype(np.float64), axis=axis)
            close(ss.entropy(x, axis=axis), special.entr(p).sum(axis=axis), dtype, 1.0)


def test_scipy_small_remainder() -> None:
    special = pytest.importorskip("scipy.special")
    x = np.array([0, -20], np.float32)
    expected = special.logsumexp(x.astype(np.float64))  # in float32 older versions give 0
    np.testing.assert_allclose(ss.logsumexp(x), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sklearn_losses(rng: np.random.Generator, dtype: Any) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    scores, target = logits_for(rng, (50, 4), dtype), rng.integers(0, 4, 50)
    weight = rng.uniform(0.5, 2, 50).astype(dtype)
    labels = list(range(4))
    expected = metrics.log_loss(
        target, ss.softmax(scores.astype(np.float64)), sample_weight=weight, labels=labels
    )
    close(ss.cross_entropy(scores, target, sample_weight=weight), expected, dtype)
    close(ss.hinge(scores, target), metrics.hinge_loss(target, scores, labels=labels), dtype)
    sign = rng.choice([-1, 1], 50)
    close(ss.hinge(scores[:, 0], sign), metrics.hinge_loss(sign, scores[:, 0]), dtype)


def test_jax_and_optax(rng: np.random.Generator) -> None:
    jax = pytest.importorskip("jax")
    optax = pytest.importorskip("optax")
    for shape in [(7, 3), (33, 10), (5, 129)]:
        x = logits_for(rng, shape, np.float32)
        close(ss.softmax(x), jax.nn.softmax(x), np.float32, 1.0)
        close(ss.log_softmax(x), jax.nn.log_softmax(x), np.float32, 1.0)
        target = rng.integers(0, shape[1], shape[0])
        losses = optax.losses.softmax_cross_entropy_with_integer_labels(x, target)
        close(ss.cross_entropy(x, target, reduction="none"), losses, np.float32)
        q = rng.uniform(size=shape).astype(np.float32)
        losses = optax.losses.softmax_cross_entropy(x, q)
        close(ss.cross_entropy(x, q, reduction="none"), losses, np.float32, 8.0 * shape[1])


def test_optax_sgd_with_decoupled_decay(rng: np.random.Generator) -> None:
    """chain(trace, add_decayed_weights, scale_by_learning_rate) is the decoupled step."""
    optax = pytest.importorskip("optax")
    decoupled = optax.chain(
        optax.trace(0.9), optax.add_decayed_weights(0.1), optax.scale_by_learning_rate(0.3)
    )
    p = rng.normal(size=17).astype(np.float32)
    theirs = p.copy()
    state = decoupled.init(theirs)
    ours = ss.SGD([p], 0.3, momentum=0.9, weight_decay=0.1, decoupled=True)
    for _ in range(4):
        g = rng.normal(size=17).astype(np.float32)
        updates, state = decoupled.update(g, state, theirs)
        theirs = np.asarray(optax.apply_updates(theirs, updates))
        ours.step([g])
        close(p, theirs, np.float32, 4.0)
