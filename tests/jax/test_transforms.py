"""softstep.jax under JAX's transformations, XLA's threads and floating-point mode."""

import threading
from typing import Any

import numpy as np
import pytest

import softstep as ss
from tests.jax.front_end import jax, jnp, same_bits, ssj


def losses(x: Any, t: Any, **options: Any) -> Any:
    return ssj.cross_entropy(x, t, **options)


def batched(rng: np.random.Generator) -> tuple[Any, Any]:
    x = jnp.asarray(rng.normal(size=(3, 2, 4, 9)).astype(np.float32))
    return x, jnp.asarray(rng.integers(0, 9, (3, 2, 4)))


@pytest.mark.parametrize(
    ("reduction", "inplace"), [("none", False), ("none", True), ("mean", True)]
)
def test_vmap_is_a_loop(rng: np.random.Generator, reduction: str, inplace: bool) -> None:
    """Over each argument, over all of them, twice, and of gradients."""
    x, t = batched(rng)
    w = jnp.asarray(rng.uniform(0.5, 2, (3, 9)).astype(np.float32))
    m = jnp.asarray(rng.uniform(size=(3, 9)) < 0.8).at[:, 0].set(True)

    def function(x: Any, t: Any, w: Any, m: Any) -> Any:
        return losses(x, t, weight=w, where=m[None], reduction=reduction, inplace=inplace)

    def gradient(x: Any, t: Any, w: Any, m: Any) -> Any:
        return jax.grad(lambda x: jnp.sum(function(x, t, w, m)))(x)

    for f in (function, gradient):
        single = jax.jit(f)
        for axes in ((0, None, 0, None), (None, 0, None, 0)):
            given = [
                a if d == 0 else a[0] for a, d in zip((x[:, 0], t[:, 0], w, m), axes, strict=True)
            ]
            actual = jax.jit(jax.vmap(f, axes))(*given)
            for i in range(3):
                one = [a[i] if d == 0 else a for a, d in zip(given, axes, strict=True)]
                same_bits(actual[i], single(*one))
        twice = jax.vmap(jax.vmap(f, (0, 0, None, None)), (1, 1, None, None))
        same_bits(jax.jit(twice)(x, t, w[0], m[0])[1, 2], single(x[2, 1], t[2, 1], w[0], m[0]))


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_vmap_of_the_family(rng: np.random.Generator, name: str) -> None:
    x, _ = batched(rng)
    m = jnp.asarray(rng.uniform(size=(3, 9)) < 0.7)
    f = lambda x, m: getattr(ssj, name)(x, axis=-1, where=m)  # noqa: E731
    g = lambda x, m: jax.grad(lambda x: jnp.where(jnp.isinf(f(x, m)), 0, f(x, m))[0, 0].sum())(x)  # noqa: E731
    for function in (f, g):
        single = jax.jit(function)
        for axes in ((0, 0), (None, 0), (1, None)):
            given = (x if axes[0] is not None else x[0], m if axes[1] == 0 else m[0])
            actual = jax.jit(jax.vmap(function, axes))(*given)
            for i in range(2):
                one = jnp.take(given[0], i, axes[0]) if axes[0] is not None else given[0]
                same_bits(actual[i], single(one, m[i] if axes[1] == 0 else given[1]))


def test_checkpoint_scan_and_donation(rng: np.random.Generator) -> None:
    x, t = batched(rng)
    for reduction in ("none", "mean"):
        loss = lambda x, t, r=reduction: losses(x * x, t, reduction=r).mean()  # noqa: E731
        plain = jax.jit(jax.grad(loss))(x, t)
        same_bits(jax.jit(jax.grad(jax.checkpoint(loss)))(x, t), plain)

        def over(x: Any, t: Any, loss: Any = loss) -> Any:
            return jax.lax.scan(lambda sum_, xt: (sum_ + loss(*xt), None), 0.0, (x, t))[0]

        same_bits(jax.grad(over)(x, t)[2], jax.jit(jax.grad(loss))(x[2], t[2]))
        before = np.array(x)
        same_bits(jax.jit(jax.grad(loss), donate_argnums=0)(x.copy(), t), plain)
        same_bits(x, before)


def test_inplace_cannot_be_seen(rng: np.random.Generator) -> None:
    """Logits that are used again, before or after, are the logits."""
    x, t = (a[0, 0] for a in batched(rng))

    def step(x: Any) -> Any:
        logits = 2 * x
        loss, pullback = jax.vjp(lambda z: losses(z, t, reduction="mean"), logits)
        return loss, pullback(jnp.float32(1))[0], logits.argmax(-1), logits

    _, gradient, best, logits = jax.jit(step)(x)
    same_bits(logits, 2 * x)
    same_bits(best, (2 * x).argmax(-1))
    same_bits(gradient, ss.cross_entropy_with_grad(np.asarray(2 * x), np.asarray(t))[1])


def test_programs_at_once(rng: np.random.Generator) -> None:
    """Several threads, several calls in one program, any number of our threads: the same bits."""
    xs = [rng.normal(size=(256, 1000)).astype(np.float32) for _ in range(4)]
    t = rng.integers(0, 1000, 256)
    expected = [ss.cross_entropy_with_grad(x, t)[1] for x in xs]
    one = jax.jit(jax.grad(lambda x: losses(x, t, reduction="mean")))
    every = jax.jit(lambda *xs: [jax.grad(lambda x: losses(x, t, reduction="mean"))(x) for x in xs])
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(10):
            if not np.array_equal(one(xs[i]), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for count in (1, 2, 3, 7):
        with ss.threads(count):
            for actual, e in zip(every(*xs), expected, strict=True):
                same_bits(actual, e)
    for thread in threads:
        thread.join()
    assert not wrong


def test_denormals_are_not_flushed(rng: np.random.Generator) -> None:
    """XLA's threads flush them; results below 1e-38 are what NumPy gets."""
    x = rng.normal(size=(40, 2)).astype(np.float32)
    options = {"sample_weight": np.full(40, 1e-40, np.float32), "reduction": "sum"}
    t = np.tile([0, 1], 20)
    expected, gradient = ss.cross_entropy_with_grad(x, t, **options)
    assert 0 != expected < 1e-38
    both = jax.jit(jax.value_and_grad(lambda x: losses(x, t, **options)))
    for actual, exact in zip(both(x), (np.float32(expected), gradient), strict=True):
        assert (np.asarray(actual) != 0).all()
        same_bits(actual, exact)


def test_no_python_in_the_program(rng: np.random.Generator) -> None:
    x, t = batched(rng)
    text = jax.jit(jax.grad(lambda x: losses(x, t).sum())).lower(x).as_text()
    assert "softstep_cross_entropy" in text and "callback" not in text


def test_other_derivatives_are_refused() -> None:
    for function in (ssj.softmax, lambda x: losses(x, 0), lambda x: losses(x, 0, reduction="mean")):
        f = lambda x, g=function: jnp.sum(jnp.cos(g(x)))  # noqa: E731
        x = jnp.arange(3.0)
        with pytest.raises(ValueError, match=r"cannot be differentiated twice.*jax\.nn and Optax"):
            jax.hessian(f)(x)
        with pytest.raises(TypeError, match="forward-mode"):
            jax.jvp(f, (x,), (x,))
