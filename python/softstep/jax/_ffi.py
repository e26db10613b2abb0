"""The kernels as operations of XLA, called through its foreign function interface."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import jax
import jax.ffi
import numpy as np

from softstep._core import jax_handlers

Array: TypeAlias = Any  # of JAX, also while it is traced
Axis: TypeAlias = int | tuple[int, ...] | None


def call(
    name: str,
    results: Sequence[tuple[tuple[int, ...], Any]],
    operands: Sequence[Array | None],
    aliases: dict[int, int] | None = None,
    **attributes: int | float,
) -> list[Array]:
    """Call a handler; `results` are shapes and dtypes, absent operands are None."""
    function = jax.ffi.ffi_call(
        name,
        [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in results],
        # An operand that vmap does not vary is not repeated, but an alias needs equal shapes.
        vmap_method="broadcast_all" if aliases else "expand_dims",
        input_output_aliases=aliases,
    )
    typed = {
        key: np.float64(value) if isinstance(value, float) else np.int64(value)
        for key, value in attributes.items()
    }
    return list(function(*(one for one in operands if one is not None), **typed))


for _name, _handler in jax_handlers().items():
    jax.ffi.register_ffi_target(_name, _handler, platform="cpu")
