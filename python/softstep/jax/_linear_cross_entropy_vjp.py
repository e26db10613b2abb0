"""Chunks of the head under JAX: products by XLA, cross-entropy by the kernel, a scan over rows.

A chunk of rows has its logits, its loss and its gradients before the next one begins, so that one
chunk of logits is all that is ever in memory.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from softstep.jax._class_axes import is_dense
from softstep.jax._cross_entropy_vjp import (
    Static,
    differentiable,
    instantiated,
    refuse,
    run,
    values,
)
from softstep.jax._ffi import Array, alike
from softstep.jax._mean import is_class

Chunked = tuple[Static, int]  # and the rows of a chunk


class _Wanted(NamedTuple):
    hidden: bool
    weight: bool
    bias: bool


_NOTHING = _Wanted(False, False, False)


def _chunks(
    static: Chunked,
    wanted: _Wanted,
    hidden: Array,
    weight: Array,
    bias: Array | None,
    target: Array,
    class_weight: Array | None,
    rows: Array | None,
) -> tuple[Array, Array | None, Array | None, Array | None]:
    """Return the loss, or one for each row, and the gradients that are wanted."""
    call, chunk = static
    count, by_row = hidden.shape[0], call.options.reduction == "none"
    computed = jnp.float64 if jnp.float64 in (hidden.dtype, weight.dtype) else jnp.float32
    matrix = weight.astype(computed)
    parts = max(1, -(-count // chunk))
    size = -(-count // parts)
    share = jnp.ones(count, computed) if rows is None else rows

    def cut(array: Array) -> Array:
        padding = [(0, parts * size - count)] + [(0, 0)] * (array.ndim - 1)
        return jnp.pad(array, padding).reshape(parts, size, *array.shape[1:])

    def step(sums: Any, part: Any) -> Any:
        h, t, s = part
        h = h.astype(computed)
        if is_dense(t):
            t = t.astype(computed)
        logits = h @ matrix.T
        if bias is not None:
            logits = logits + bias.astype(computed)
        loss, *gradient = run(call, any(wanted), logits, t, None, class_weight, s)
        total, dweight, dbias = sums
        dhidden = None
        if wanted.hidden:
            dhidden = (gradient[0] @ matrix).astype(hidden.dtype)
        if wanted.weight:
            used = jnp.where(_used(call, t, s, matrix)[:, None], h, 0)
            dweight = dweight + gradient[0].T @ used
        if wanted.bias:
            dbias = dbias + gradient[0].sum(axis=0)
        return (total if by_row else total + loss, dweight, dbias), (
            loss if by_row else None,
            dhidden,
        )

    start = alike(
        jnp.zeros((), computed),
        jnp.zeros(weight.shape, computed) if wanted.weight else None,
        jnp.zeros(weight.shape[:1], computed) if wanted.bias else None,
        hidden,
    )[:3]
    (total, dweight, dbias), (losses, dhidden) = jax.lax.scan(
        step, tuple(start), (cut(hidden), cut(target), cut(share))
    )
    if by_row:
        total = losses.reshape(-1)[:count]
    if dhidden is not None:
        dhidden = dhidden.reshape(parts * size, hidden.shape[1])[:count]
    return (
        total,
        dhidden,
        None if dweight is None else dweight.astype(weight.dtype),
        None if dbias is None or bias is None else dbias.astype(bias.dtype),
    )


def _used(call: Static, target: Array, rows: Array, matrix: Array) -> Array:
    """Tell which rows have a gradient; what the others hold must not meet a product."""
    used = rows != 0
    if not is_dense(target):
        used &= is_class(target, call.options.ignore_index, matrix.shape[0])
    return used


def _wanted(arguments: tuple[Any, ...]) -> _Wanted:
    hidden, weight, bias = arguments[:3]
    return _Wanted(hidden.perturbed, weight.perturbed, bias is not None and bias.perturbed)


def _losses(static: Chunked, *arguments: Any) -> Array:
    return _chunks(static, _NOTHING, *(*arguments, None))[0]


def _losses_forward(static: Chunked, *arguments: Any) -> tuple[Array, Any]:
    refuse(target=arguments[3], class_weight=arguments[4])
    arrays = values(arguments)
    return _losses(static, *arrays), (arrays, _wanted(arguments))


def _losses_backward(static: Chunked, residuals: Any, upstream: Any) -> tuple[Any, ...]:
    arrays, wanted = residuals
    _, *gradients = _chunks(static, wanted, *(*arrays, instantiated(upstream)))
    return (*gradients, None, None)


def _reduced(static: Chunked, *arguments: Any) -> Array:
    return _chunks(static, _NOTHING, *arguments)[0]


def _reduced_forward(static: Chunked, *arguments: Any) -> tuple[Array, Any]:
    refuse(target=arguments[3], class_weight=arguments[4], sample_weight=arguments[5])
    loss, *gradients = _chunks(static, _wanted(arguments), *values(arguments))
    return loss, gradients


def _reduced_backward(static: Chunked, gradients: Any, upstream: Any) -> tuple[Any, ...]:
    g = instantiated(upstream)
    scaled = (None if one is None else (g * one).astype(one.dtype) for one in gradients)
    return (*scaled, None, None, None)


linear_losses = differentiable(_losses, _losses_forward, _losses_backward)
linear_reduced = differentiable(_reduced, _reduced_forward, _reduced_backward)
