"""Softmax, its logarithm and its normaliser for JAX, with their gradients."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import softstep._core as _core
from softstep.jax._class_axes import (
    as_float,
    as_mask,
    fill_empty,
    normalised,
    one_axis,
    separate_axes,
)
from softstep.jax._ffi import Array, Axis, alike, call, letters

# The numbers of ops::SoftmaxOp.
_OPS = {"softmax": 0, "log_softmax": 1, "logsumexp": 2}
_BACKWARD = {"softmax": 4, "log_softmax": 5}
# Of a row without classes.
_EMPTY = {"softmax": 0.0, "log_softmax": -float("inf"), "logsumexp": -float("inf")}


class _Kind(NamedTuple):
    name: str
    axis: int  # counted from the end
    temperature: float


def softmax(x: Any, axis: Axis = -1, where: Any = None, *, temperature: float = 1.0) -> Array:
    """Probabilities of the classes: ``p = exp(x / T) / sum(exp(x / T))``.

    Parameters
    ----------
    x : array
        Logits of any shape; float32, float64, bfloat16 or float16, computed in float32 or wider.
        Integers are computed in JAX's default float.
    axis : int, tuple of int or None
        The class axis, or axes taken as one; None: all.
    where : array of bool, optional
        Classes that take part; broadcast to the shape of `x`. The others have the probability 0,
        and so has every class of a row without any.
    temperature : float
        ``T > 0``, a Python number. Divide `x` by a temperature that is itself traced.

    Returns
    -------
    jax.Array
        Of the shape and dtype of `x`. A row that holds NaN or +inf, or only -inf, is NaN.

    Raises
    ------
    TypeError, ValueError
        For a dtype, axis, mask or temperature that does not fit, when the call is traced.

    References
    ----------
    The arguments are those of ``jax.nn.softmax``.

    Examples
    --------
    >>> import softstep.jax as ssj
    >>> ssj.softmax([0.0, 0.0, 0.0, 0.0])
    Array([0.25, 0.25, 0.25, 0.25], dtype=float32)
    """
    return _map("softmax", x, axis, where, temperature)


def log_softmax(x: Any, axis: Axis = -1, where: Any = None, *, temperature: float = 1.0) -> Array:
    """Log-probabilities of the classes: ``x / T - logsumexp(x / T)``.

    Parameters, result and errors are those of `softmax`; classes that `where` leaves out are -inf.

    Examples
    --------
    >>> import softstep.jax as ssj
    >>> ssj.log_softmax([1000.0, 0.0])
    Array([    0., -1000.], dtype=float32)
    """
    return _map("log_softmax", x, axis, where, temperature)


def logsumexp(
    x: Any,
    axis: Axis = None,
    *,
    keepdims: bool = False,
    where: Any = None,
    temperature: float = 1.0,
) -> Array:
    """Logarithm of the softmax's normaliser: ``log(sum(exp(x / T)))``.

    Parameters
    ----------
    x : array
        Logits, as in `softmax`.
    axis : int, tuple of int or None
        The axis or axes that are summed; None, as in ``jax.nn.logsumexp``: all.
    keepdims : bool
        Keep the summed axes with length 1.
    where : array of bool, optional
        Classes that take part; broadcast to the shape of `x`.
    temperature : float
        ``T > 0``, a Python number.

    Returns
    -------
    jax.Array
        Of the dtype of `x` and its shape without `axis`; -inf for rows without classes.

    Raises
    ------
    TypeError, ValueError
        As `softmax`.

    Examples
    --------
    >>> import softstep.jax as ssj
    >>> round(float(ssj.logsumexp([1000.0, 1000.0])), 3)
    1000.693
    """
    _, axes, result = _over_classes("logsumexp", x, axis, where, temperature)
    return jnp.expand_dims(result, axes) if keepdims else result


def _map(name: str, x: Any, axis: Axis, where: Any, temperature: float) -> Array:
    shape, axes, result = _over_classes(name, x, axis, where, temperature)
    return separate_axes(shape, axes)(result)


def _over_classes(
    name: str, x: Any, axis: Axis, where: Any, temperature: float
) -> tuple[tuple[int, ...], tuple[int, ...], Array]:
    array = as_float(x, "x")
    axes = normalised(axis, array.ndim)
    _core.logsumexp([0.0], -1, temperature, None)  # checks the number, in the words of the package
    mask = None if where is None else one_axis(as_mask(where, array.shape), axes)[0]
    flat, class_axis = one_axis(array, axes)
    flat, mask = alike(flat, mask)
    result = _family(_Kind(name, class_axis, float(temperature)), flat, mask)
    return array.shape, axes, result


def _forward(kind: _Kind, x: Array, mask: Array | None) -> Array:
    every = letters(x)
    classes = every[kind.axis]
    (result,) = call(
        "softstep_softmax",
        [(every.replace(classes, "") if kind.name == "logsumexp" else every, x.dtype)],
        [(every, x), (every, mask)],
        classes,
        op=_OPS[kind.name],
        axis=kind.axis,
        masked=mask is not None,
        temperature=kind.temperature,
    )
    return fill_empty(result, mask, kind.axis, _EMPTY[kind.name])


def _forward_residuals(kind: _Kind, x: Array, mask: Array | None) -> tuple[Array, Any]:
    result = _forward(kind, x, mask)
    return result, (x if kind.name == "logsumexp" else result, mask)


def _backward(kind: _Kind, residuals: Any, upstream: Array) -> tuple[Array, Any]:
    kept, mask = residuals
    if kind.name == "logsumexp":
        probabilities = _forward(kind._replace(name="softmax"), kept, mask)
        dy = jnp.expand_dims(upstream, kind.axis) / jnp.asarray(kind.temperature, kept.dtype)
        return dy * probabilities, None
    every = letters(kept)
    (dx,) = call(
        "softstep_softmax",
        [(every, kept.dtype)],
        [(every, kept), (every, upstream), (every, mask)],
        every[kind.axis],
        op=_BACKWARD[kind.name],
        axis=kind.axis,
        masked=mask is not None,
        temperature=kind.temperature,
    )
    return dx, None


_rules = jax.custom_vjp(_forward, nondiff_argnums=(0,))
_rules.defvjp(_forward_residuals, _backward)
_family = jax.jit(_rules, static_argnums=0, inline=True)  # traced once, also outside of `jit`


def log_probabilities(x: Array, mask: Array | None, axis: int, temperature: float) -> Array:
    """Return `log_softmax` of checked arguments; `axis` counts from the end."""
    return _family(_Kind("log_softmax", axis, temperature), x, mask)
