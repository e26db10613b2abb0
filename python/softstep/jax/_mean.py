"""A mean as a weighted sum, where its rows are in several calls: in chunks, on several devices."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from softstep.jax._class_axes import is_dense
from softstep.jax._ffi import Array


def as_sum(
    target: Array,
    ignore_index: int,
    classes: int,
    class_weight: Array | None,
    rows: Array,
    axes: tuple[str, ...] = (),
) -> tuple[Array | None, Array, Array]:
    """Return class weights and rows' weights whose sum is the mean, and whether nothing counts.

    The z-loss divides by the sum of `rows` and the rest by that of ``w[t] rows``: the class weights
    take the quotient. `axes` are those of a mesh along which there are more rows.
    """
    kept, index = rows, None
    if not is_dense(target):
        counts = is_class(target, ignore_index, classes)
        index = jnp.where(counts, target, 0).astype(jnp.int32)
        kept = jnp.where(counts, rows, 0)
    largest = _nonzero(_over(axes, jnp.max, jax.lax.pmax, jnp.abs(kept)))
    rows, kept = rows / largest, kept / largest  # so that no sum overflows
    whole = z_whole = _over(axes, jnp.sum, jax.lax.psum, kept)
    if index is not None and class_weight is not None:
        used = jnp.where(kept == 0, 0, class_weight[index])
        largest = _nonzero(_over(axes, jnp.max, jax.lax.pmax, jnp.abs(used)))
        whole = _over(axes, jnp.sum, jax.lax.psum, kept * (used / largest))
        class_weight = class_weight / largest * _quotient(z_whole, whole)
    return class_weight, rows * _quotient(whole != 0, z_whole), whole == 0


def is_class(target: Array, ignore_index: int, classes: int) -> Array:
    """Tell which labels are classes that count."""
    limits = jnp.iinfo(target.dtype)
    counts = target >= 0
    if classes <= limits.max:
        counts &= target < classes
    if limits.min <= ignore_index <= limits.max:
        counts &= target != ignore_index
    return counts


def _over(axes: tuple[str, ...], here: Any, there: Any, array: Array) -> Array:
    local = here(array, initial=0)
    return there(local, axes) if axes else local


def _nonzero(number: Array) -> Array:
    return jnp.where(number == 0, 1, number)


def _quotient(numerator: Array, denominator: Array) -> Array:
    """Return the quotient, 0 where the denominator is 0."""
    return jnp.where(denominator == 0, 0, numerator / _nonzero(denominator))
