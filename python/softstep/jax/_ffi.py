"""The kernels as operations of XLA, called through its foreign function interface."""

import string
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.ffi
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jax.experimental.custom_partitioning import custom_partitioning

from softstep._core import jax_handlers
from softstep.jax._partition import Kernel, partition, sharding_rule, shardings

Array: TypeAlias = Any  # of JAX, also while it is traced
Axis: TypeAlias = int | tuple[int, ...] | None


def call(
    name: str,
    results: Sequence[tuple[str, Any]],
    operands: Sequence[tuple[str, Array | None]],
    classes: str,
    aliases: dict[int, int] | None = None,
    across: tuple[Callable[..., Sequence[Array]], tuple[Any, ...]] | None = None,
    **attributes: int | float,
) -> list[Array]:
    """Call a handler; absent operands are None, all others as `Kernel` describes them."""
    kernel = Kernel(
        name,
        tuple(None if array is None else dimensions for dimensions, array in operands),
        tuple(results),
        classes,
        tuple((aliases or {}).items()),
        tuple(attributes.items()),
        across,
    )
    given = alike(*(array for _, array in operands))
    return list(_differentiated(kernel, *(one for one in given if one is not None)))


def letters(array: Array) -> str:
    """Return a letter for each dimension."""
    return string.ascii_letters[: array.ndim]


def _batched(kernel: Kernel, *operands: Array) -> Any:
    """Call a kernel that `vmap` gives another dimension."""

    def rule(size: int, varies: Sequence[bool], *operands: Array) -> Any:
        used = {*"".join(kernel.given)}
        fresh = (one for one in string.ascii_letters if one not in used)
        added = next(fresh)
        # What does not vary is not repeated, but an alias needs equal shapes.
        repeats = {source for source, _ in kernel.aliases}
        dimensions, arrays = [], []
        for k, (one, array) in enumerate(zip(kernel.given, operands, strict=True)):
            if not varies[k] and k in repeats:
                array = jnp.broadcast_to(array, (size, *array.shape))
            elif not varies[k]:
                array = array[None]
            dimensions.append((added if varies[k] or k in repeats else next(fresh)) + one)
            arrays.append(array)
        rest = iter(dimensions)
        wider = kernel._replace(
            operands=tuple(None if one is None else next(rest) for one in kernel.operands),
            results=tuple((added + one, dtype) for one, dtype in kernel.results),
            across=None,
        )
        return _batched(wider, *arrays), (True,) * len(kernel.results)

    function = custom_vmap(partial(_partitioned, kernel))
    function.def_vmap(rule)
    return function(*operands)


def _refuse(kernel: Kernel, operands: Any, tangents: Any) -> Any:
    raise ValueError(
        "softstep.jax: the kernels cannot be differentiated twice, nor in forward mode; expected "
        "one jax.grad or jax.vjp of the loss; jax.nn and Optax have the others"
    )


_differentiated = jax.custom_jvp(_batched, nondiff_argnums=(0,))
_differentiated.defjvp(_refuse)


def _run(kernel: Kernel, *operands: Array) -> Any:
    sizes: dict[str, int] = {}
    for dimensions, operand in zip(kernel.given, operands, strict=True):
        sizes.update(zip(dimensions, operand.shape, strict=True))
    function = jax.ffi.ffi_call(
        kernel.name,
        [
            jax.ShapeDtypeStruct(tuple(sizes[one] for one in dimensions), dtype)
            for dimensions, dtype in kernel.results
        ],
        input_output_aliases=dict(kernel.aliases),
    )
    typed = {
        key: np.float64(value) if isinstance(value, float) else np.int64(value)
        for key, value in kernel.attributes
    }
    axes = _varying(operands[0])
    return tuple(_vary(one, axes) for one in function(*operands, **typed))


_partitioned = custom_partitioning(_run, static_argnums=(0,))
_partitioned.def_partition(
    partition(_run), infer_sharding_from_operands=shardings, sharding_rule=sharding_rule
)


def alike(*arrays: Array | None) -> list[Any]:
    """Return arrays that vary along the same axes of `shard_map`, as a kernel's have to.

    Outside of a rule for derivatives, so that JAX adds up the gradient of what did not vary.
    """
    every = frozenset[str]().union(*(_varying(one) for one in arrays if one is not None))
    return [None if one is None else _vary(one, every - _varying(one)) for one in arrays]


def _varying(array: Array) -> frozenset[str]:
    if not hasattr(jax, "shard_map"):  # before 0.6.1 arrays say nothing of it
        return frozenset()
    kind = jax.typeof(array)
    return frozenset(kind.mat.varying if hasattr(kind, "mat") else kind.vma)


def _vary(array: Array, axes: frozenset[str]) -> Array:
    if not axes:
        return array
    if hasattr(jax.lax, "pcast"):
        return jax.lax.pcast(array, tuple(axes), to="varying")
    return jax.lax.pvary(array, tuple(axes))


for _name, _handler in jax_handlers().items():
    jax.ffi.register_ffi_target(_name, _handler, platform="cpu")
