"""The kernel of cross-entropy with its derivatives, for JAX's transformations.

Losses by row are differentiated by a second call, which reads the logits again and takes the
cotangents as weights of the rows. A reduced loss has one cotangent: its gradient is computed with
it, in the forward pass.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

import softstep._core as _core
from softstep.jax._class_axes import is_dense
from softstep.jax._ffi import Array, call, letters
from softstep.jax._mean import as_sum
from softstep.jax._softmax import log_probabilities
from softstep.losses.options import Options


class Static(NamedTuple):
    """What is known when the call is traced."""

    axis: int  # counted from the end
    inplace: bool
    options: Options
    numbers: tuple[tuple[str, float], ...]  # the options as the handler takes them


def checked(by_class: bool, axis: int, options: Options, inplace: bool) -> Static:
    """Return what is known when a call is traced; refuses what the package refuses."""
    numbers = _core.cross_entropy_numbers(by_class, **options._asdict())
    hashable: dict[str, Any] = options._asdict()
    for name, value in hashable.items():
        if hasattr(value, "item"):
            hashable[name] = value.item()
    return Static(axis, inplace, Options(**hashable), tuple(numbers.items()))


def summed(static: Static, target: Array) -> Static:
    """Return the same with the sum of the losses."""
    options = static.options._replace(reduction="sum")
    return checked(not is_dense(target), static.axis, options, static.inplace)


def run(
    static: Static,
    gradient: bool,
    logits: Array,
    target: Array,
    mask: Array | None,
    weight: Array | None,
    rows: Array | None,
) -> list[Array]:
    """Return [loss] or [loss, dlogits]."""
    computed = jnp.float64 if logits.dtype == jnp.float64 else jnp.float32
    every = letters(logits)
    classes = every[static.axis]
    batch = every.replace(classes, "")
    results = [(batch if static.options.reduction == "none" else "", computed)]
    if gradient:
        results.append((every, logits.dtype))
    return call(
        "softstep_cross_entropy",
        results,
        [
            (every, logits),
            (every if is_dense(target) else batch, target),
            (every, mask),
            (classes, weight),
            (batch, rows),
        ],
        classes,
        {0: 1} if gradient and static.inplace else None,
        (_over_devices, (static, gradient)),
        ndim=logits.ndim,
        masked=mask is not None,
        weighted=weight is not None,
        rows_weighted=rows is not None,
        axis=static.axis,
        **dict(static.numbers),
    )


def _over_devices(
    static: Static,
    gradient: bool,
    axes: tuple[str, ...],
    logits: Array,
    target: Array,
    mask: Array | None,
    weight: Array | None,
    rows: Array | None,
) -> list[Array]:
    """Reduce rows that are on the devices along some axes of a mesh."""
    nothing: Any = False
    if static.options.reduction == "mean":
        if rows is None:
            batch = list(logits.shape)
            del batch[static.axis]
            rows = jnp.ones(batch, jnp.promote_types(logits.dtype, jnp.float32))
        weight, rows, nothing = as_sum(
            target, static.options.ignore_index, logits.shape[static.axis], weight, rows, axes
        )
        static = summed(static, target)
    loss, *dlogits = run(static, gradient, logits, target, mask, weight, rows)
    return [jnp.where(nothing, jnp.nan, jax.lax.psum(loss, axes)), *dlogits]


def _losses(
    static: Static, logits: Array, target: Array, mask: Array | None, weight: Array | None
) -> Array:
    return run(static, False, logits, target, mask, weight, None)[0]


def _losses_forward(static: Static, *arguments: Any) -> tuple[Array, Any]:
    logits, target, mask, weight = values(arguments)
    refuse(weight=arguments[3])
    by_target = arguments[1].perturbed
    return _losses(static, logits, target, mask, weight), (logits, target, mask, weight, by_target)


def _losses_backward(static: Static, residuals: Any, upstream: Any) -> tuple[Any, ...]:
    logits, target, mask, weight, by_target = residuals
    rows = instantiated(upstream)
    dtarget = None
    if by_target:
        dtarget = _target_gradient(static, logits, target, mask, weight, rows)
    _, dlogits = run(static, True, logits, target, mask, weight, rows)
    return dlogits, dtarget, None, None


def _reduced(
    static: Static,
    logits: Array,
    target: Array,
    mask: Array | None,
    weight: Array | None,
    rows: Array | None,
) -> Array:
    return run(static, False, logits, target, mask, weight, rows)[0]


def _reduced_forward(static: Static, *arguments: Any) -> tuple[Array, Any]:
    logits, target, mask, weight, rows = values(arguments)
    refuse(weight=arguments[3], sample_weight=arguments[4])
    dtarget = None
    if arguments[1].perturbed:
        batch = list(logits.shape)
        del batch[static.axis]
        share = jnp.ones(batch, logits.dtype) if rows is None else rows
        if static.options.reduction == "mean":  # the mean over probabilities
            share = share / jnp.where(share.sum() == 0, 1, share.sum())
        dtarget = _target_gradient(static, logits, target, mask, weight, share)
    loss, dlogits = run(static, True, logits, target, mask, weight, rows)
    return loss, (dlogits, dtarget)


def _reduced_backward(static: Static, residuals: Any, upstream: Any) -> tuple[Any, ...]:
    g = instantiated(upstream)
    dlogits, dtarget = (None if d is None else (g * d).astype(d.dtype) for d in residuals)
    return dlogits, dtarget, None, None, None


def _target_gradient(
    static: Static,
    logits: Array,
    target: Array,
    mask: Array | None,
    weight: Array | None,
    rows: Array,
) -> Array:
    """Return ``-rows (1 - eps) w log p``: 0 in rows and at classes that do not count."""
    wide = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    options = static.options
    if options.softcap:
        capped = options.softcap * jnp.tanh(wide / options.softcap)
        wide = jnp.where(wide == -jnp.inf, wide, capped)
    logp = log_probabilities(wide, mask, static.axis, options.temperature)
    factor = jnp.expand_dims(rows, static.axis) * (1 - options.label_smoothing)
    if weight is not None:
        factor = factor * jnp.expand_dims(weight, tuple(range(1, -static.axis)))
    counts = factor != 0 if mask is None else (factor != 0) & mask
    return jnp.where(counts, -factor * logp, 0).astype(target.dtype)


def values(arguments: tuple[Any, ...]) -> list[Any]:
    """Return the arrays of what JAX gives a forward rule."""
    return [None if one is None else one.value for one in arguments]


def refuse(**arguments: Any) -> None:
    """Raise for arguments of a forward rule that it is to differentiate and cannot."""
    for name, argument in arguments.items():
        if argument is not None and argument.perturbed:
            raise TypeError(
                f"{name}: cross_entropy is not differentiated with respect to it here; "
                "pass jax.lax.stop_gradient of it"
                + (", or reduction='none'" if name == "sample_weight" else "")
            )


def instantiated(cotangent: Any) -> Array:
    """Return a cotangent as an array."""
    if isinstance(cotangent, SymbolicZero):
        return jnp.zeros(cotangent.shape, cotangent.dtype)
    return cotangent


def differentiable(function: Any, forward: Any, backward: Any) -> Any:
    """Return f(static, *arrays) with its rules; compiled: eager `shard_map` refuses such rules."""
    rules = jax.custom_vjp(function, nondiff_argnums=(0,))
    rules.defvjp(forward, backward, symbolic_zeros=True)
    return jax.jit(rules, static_argnums=0, inline=True)


losses = differentiable(_losses, _losses_forward, _losses_backward)
reduced_loss = differentiable(_reduced, _reduced_forward, _reduced_backward)
