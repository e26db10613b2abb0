"""softstep.jax on four devices: run by test_devices.py, for JAX counts devices when it starts."""

from typing import Any

import numpy as np

from tests.jax.front_end import jax, jnp, ssj

P, NamedSharding = jax.sharding.PartitionSpec, jax.sharding.NamedSharding
MESH = jax.sharding.Mesh(np.array(jax.devices()).reshape(2, 2), ("a", "b"))
# Logits are up to 20, of 5 products; what is compared is summed in another order.
BOUND = 4 * 20 * float(np.finfo(np.float32).eps)
ROWS, CLASSES = P(("a", "b")), 5
RNG = np.random.default_rng(0)
X = RNG.normal(scale=3, size=(8, 3, CLASSES)).astype(np.float32)
T = RNG.integers(0, CLASSES, (8, 3))
T[1, 1], T[6] = -100, -100
SHARE = RNG.integers(0, 3, (8, 3)).astype(np.float32)
WEIGHT = RNG.uniform(0.5, 2, CLASSES).astype(np.float32)
SOME = RNG.uniform(size=X.shape) < 0.7
SOME[..., 2] = True
Q = RNG.dirichlet(np.ones(CLASSES), (8, 3)).astype(np.float32)
W = RNG.normal(size=(11, CLASSES)).astype(np.float32)

# What takes a part of the rows: f(logits, *what belongs to the rows).
BY_ROW: dict[str, Any] = {
    "softmax": (ssj.softmax, ()),
    "log_softmax": (ssj.log_softmax, ()),
    "logsumexp": (lambda x: ssj.logsumexp(x, -1), ()),
    "classes on the second axis": (lambda x: ssj.softmax(x, 1), ()),
    "a mask": (lambda x, m: ssj.softmax(x, where=m), (SOME,)),
    "classes": (ssj.cross_entropy, (T,)),
    "probabilities": (ssj.cross_entropy, (Q,)),
    "options": (
        lambda x, t, m, s: ssj.cross_entropy(
            x, t, where=m, sample_weight=s, weight=WEIGHT, z_loss=0.1, label_smoothing=0.2
        ),
        (T, SOME, SHARE),
    ),
    "the focal loss": (lambda x, t: ssj.cross_entropy(x, t, gamma=2.0), (T,)),
    "a head": (lambda x, t: ssj.linear_cross_entropy(x, W, t, reduction="none"), (T,)),
}


def reduced(reduction: str) -> dict[str, Any]:
    both = {"z_loss": 0.1, "reduction": reduction}
    return {
        "classes": (lambda x, t: ssj.cross_entropy(x, t, reduction=reduction), (T,)),
        "weights": (
            lambda x, t, s: ssj.cross_entropy(x, t, sample_weight=s, weight=WEIGHT, **both),
            (T, SHARE),
        ),
        "probabilities": (lambda x, t: ssj.cross_entropy(x, t, weight=WEIGHT, **both), (Q,)),
        "a mask": (lambda x, t, m: ssj.cross_entropy(x, t, where=m, **both), (T, SOME)),
        "a head": (lambda x, t: ssj.linear_cross_entropy(x, W, t, **both), (T,)),
    }


def close(actual: Any, expected: Any, title: str) -> None:
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), BOUND, BOUND, err_msg=title)


def summed(function: Any) -> Any:
    def loss(x: Any, *rest: Any) -> Any:
        result = function(x, *rest)
        return jnp.sum(jnp.where(jnp.isfinite(result), jnp.cos(result), 0))

    return loss


def sharded(function: Any, count: int, result: Any = ROWS) -> Any:
    return jax.shard_map(function, mesh=MESH, in_specs=(ROWS,) * count, out_specs=result)


def check_shard_map() -> None:
    """Eagerly and compiled, with gradients inside and outside of it."""
    for name, (function, rest) in BY_ROW.items():
        gradient = jax.grad(summed(function))
        outside = jax.grad(summed(sharded(function, 1 + len(rest))))
        for f, exact in ((function, function), (gradient, gradient)):
            inside = sharded(f, 1 + len(rest))
            close(inside(X, *rest), exact(X, *rest), name)
            close(jax.jit(inside)(X, *rest), exact(X, *rest), name)
        close(outside(X, *rest), gradient(X, *rest), name)
        close(jax.jit(outside)(X, *rest), gradient(X, *rest), name)


def check_what_does_not_vary() -> None:
    """The gradient of logits that all devices share is the sum of theirs."""
    x = X[:2]

    def loss(x: Any, t: Any) -> Any:
        return jax.lax.psum(ssj.cross_entropy(x, t, reduction="sum"), ("a", "b"))

    every = jax.shard_map(loss, mesh=MESH, in_specs=(P(), ROWS), out_specs=P())
    expected = sum(
        jax.grad(lambda x, t=t: ssj.cross_entropy(x, t, reduction="sum"))(x) for t in np.split(T, 4)
    )
    close(jax.jit(jax.grad(every))(x, T), expected, "shared logits")


def placed(array: Any) -> Any:
    return jax.device_put(array, NamedSharding(MESH, ROWS))


def check_jit_keeps_the_sharding() -> None:
    cases = {name: case for name, case in BY_ROW.items() if name != "a head"}
    for reduction in ("sum", "mean"):
        cases |= {f"{k}, {reduction}": v for k, v in reduced(reduction).items() if k != "a head"}
    for name, (function, rest) in cases.items():
        for f in (function, jax.grad(summed(function))):
            compiled = jax.jit(f).lower(placed(X), *map(placed, rest)).compile()
            assert "all-gather" not in compiled.as_text(), name
            result = compiled(placed(X), *map(placed, rest))
            close(result, f(X, *rest), name)
            if result.ndim:
                expected = NamedSharding(MESH, ROWS)
                assert result.sharding.is_equivalent_to(expected, result.ndim), name


def check_the_head_keeps_the_sharding() -> None:
    """The gradient of the hidden states is where their rows are, and no device gathers them."""
    heads = {"none": BY_ROW["a head"]}
    heads |= {name: reduced(name)["a head"] for name in ("sum", "mean")}
    for name, (function, rest) in heads.items():
        gradient = jax.grad(summed(function))
        compiled = jax.jit(gradient).lower(placed(X), *map(placed, rest)).compile()
        assert "all-gather" not in compiled.as_text(), name
        result = compiled(placed(X), *map(placed, rest))
        close(result, gradient(X, *rest), name)
        assert result.sharding.is_equivalent_to(NamedSharding(MESH, ROWS), result.ndim), name


def check_other_shardings() -> None:
    """Classes on several devices are gathered; a head's rows, rows of vmap, are right."""
    by_class = jax.device_put(X[..., :4], NamedSharding(MESH, P(None, None, "b")))
    close(jax.jit(ssj.softmax)(by_class), ssj.softmax(X[..., :4]), "classes")
    for reduction in ("sum", "mean"):
        for name, (function, rest) in reduced(reduction).items():
            gradient = jax.value_and_grad(function)
            close(jax.jit(gradient)(placed(X), *map(placed, rest)), gradient(X, *rest), name)
            rows = jax.vmap(gradient)
            close(jax.jit(rows)(placed(X), *map(placed, rest)), rows(X, *rest), name)


if __name__ == "__main__":
    assert jax.device_count() == 4
    check_jit_keeps_the_sharding()
    check_the_head_keeps_the_sharding()
    check_other_shardings()
    if hasattr(jax, "shard_map"):  # before 0.6.1 it has no gradients inside of it
        check_shard_map()
        check_what_does_not_vary()
    print("all checked")
