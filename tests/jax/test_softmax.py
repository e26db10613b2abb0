"""softstep.jax: the softmax family is the NumPy one to the bit, and jax.nn's in its arguments."""

from typing import Any

import numpy as np
import pytest

import softstep as ss
from tests.jax.front_end import DTYPES, enable_x64, jax, jnp, same_bits, ssj
from tests.support.cases import assert_within, roundoff

FAMILY = ["softmax", "log_softmax", "logsumexp"]
SHAPES = [((33,), -1), ((7, 10), -1), ((7, 10), 0), ((3, 130, 5), 1), ((5, 1041), -1), ((4, 0), 0)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", FAMILY)
def test_the_bits_of_numpy(rng: np.random.Generator, name: str, dtype: Any) -> None:
    with enable_x64():
        for shape, axis in SHAPES:
            x = rng.normal(scale=4, size=shape).astype(dtype)
            expected = getattr(ss, name)(x, axis=axis, temperature=1.5)
            same_bits(getattr(ssj, name)(x, axis=axis, temperature=1.5), expected)


@pytest.mark.parametrize("axis", [0, (0, 2), None], ids=str)
@pytest.mark.parametrize("name", FAMILY)
def test_arguments_of_jax_nn(rng: np.random.Generator, name: str, axis: Any) -> None:
    """Values and gradients, with a mask that leaves some rows no class."""
    x = jnp.asarray(rng.normal(size=(4, 5, 6)).astype(np.float32))
    masks = [
        None,
        jnp.asarray(rng.uniform(size=(4, 5, 6)) < 0.6),
        jnp.zeros((4, 5, 6), bool).at[1, 1:, 3:].set(True),
    ]
    unit = 4 * roundoff(np.float32, 120)
    for mask in masks:
        theirs = lambda x, m=mask: getattr(jax.nn, name)(x, axis=axis, where=m)  # noqa: E731
        ours = lambda x, m=mask: getattr(ssj, name)(x, axis=axis, where=m)  # noqa: E731
        assert_within(ours(x), jax.jit(theirs)(x), unit * 10)
        if name == "log_softmax" and mask is not None:
            continue  # the sum of its infinities has no gradient
        shape = ours(x).shape
        upstream = np.cos(np.arange(np.prod(shape), dtype=np.float32)).reshape(shape)
        if name == "logsumexp" and mask is not None:
            upstream *= np.asarray(mask).any(axis=axis)  # JAX: NaN
        expected, actual = (
            jax.jit(lambda x, u, f=f: jax.vjp(f, x)[1](u)[0])(x, upstream) for f in (theirs, ours)
        )
        filled = np.nan_to_num(expected) if mask is not None else expected
        assert_within(actual, filled, unit * (1 + np.abs(upstream).sum()))


@pytest.mark.parametrize("name", FAMILY)
def test_gradients_by_differences(rng: np.random.Generator, name: str) -> None:
    with enable_x64():
        from jax.test_util import check_grads

        x = jnp.asarray(rng.normal(size=(3, 4, 5)))
        mask = jnp.asarray(rng.uniform(size=(3, 4, 5)) < 0.7).at[:, 0].set(True)
        function = getattr(ssj, name)
        for axis in (1, -1, (0, 1)):
            check_grads(lambda x, a=axis: function(x, axis=a, temperature=0.7), (x,), 1, ["rev"])

        def masked(x: Any) -> Any:
            result = function(x, axis=1, where=mask)
            return result if name == "logsumexp" else jnp.where(mask, result, 0)

        check_grads(masked, (x,), 1, ["rev"])


def test_keepdims_scalars_and_integers() -> None:
    x = jnp.zeros((2, 3))
    assert ssj.logsumexp(x, axis=(0, 1), keepdims=True).shape == (1, 1)
    assert ssj.logsumexp(x, axis=0, keepdims=True).shape == (1, 3)
    assert ssj.softmax(jnp.float32(3), axis=None) == 1
    assert ssj.softmax([1, 1]).dtype == jnp.float32


def test_errors_name_the_argument() -> None:
    x = jnp.zeros((2, 3))
    with pytest.raises(ValueError, match=r"^axis: .* got 2"):
        ssj.softmax(x, axis=2)
    with pytest.raises(ValueError, match=r"^axis: expected every dimension once"):
        ssj.softmax(x, axis=(0, -2))
    with pytest.raises(ValueError, match=r"^where: .*\(2, 3\), got \(2,\)"):
        ssj.log_softmax(x, where=jnp.ones(2, bool))
    with pytest.raises(TypeError, match=r"^where: expected booleans, got float32"):
        ssj.logsumexp(x, where=x)
    with pytest.raises(TypeError, match=r"^x: .* got complex64"):
        ssj.softmax(x.astype(jnp.complex64))
    with pytest.raises(ValueError, match=r"^temperature: .* got 0"):
        ssj.softmax(x, temperature=0)


@pytest.mark.parametrize("axis", [0.9, "1", [0, 1], (0, 1.0), (0.5,)], ids=str)
def test_an_axis_is_an_integer(axis: Any) -> None:
    x, kind = jnp.zeros((2, 3)), type(axis[-1] if isinstance(axis, tuple) else axis).__name__
    for function in (ssj.softmax, ssj.log_softmax, ssj.logsumexp):
        with pytest.raises(TypeError, match=rf"^axis: expected an integer, got {kind}$"):
            function(x, axis=axis)
    with pytest.raises(TypeError, match=rf"^axis: expected an integer, got {kind}$"):
        ssj.cross_entropy(x, jnp.zeros(2, int), axis=axis)
    assert ssj.logsumexp(x, axis=np.int64(1)).shape == (2,)
