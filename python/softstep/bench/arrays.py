"""Arrays that every library can view without a copy."""

from __future__ import annotations

import importlib
import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

# JAX views NumPy memory only from this alignment on.
ALIGNMENT = 64
PAGE = 4096
# Large arrays of an allocator all begin at the same place of a page; loads then wait for stores to
# another array that only look as if they overlap (measured: a copy takes twice as long). The arrays
# of a problem begin at different places, for every contender alike.
_starts = itertools.cycle(range(0, PAGE, 5 * ALIGNMENT))


def aligned_empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return an uninitialised C-contiguous array on an ``ALIGNMENT`` boundary."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + PAGE, np.uint8)
    start = (next(_starts) - memory.ctypes.data) % PAGE
    return memory[start : start + size].view(dtype).reshape(shape)


def aligned(values: ArrayLike) -> NDArray[Any]:
    """Return an aligned copy of ``values``."""
    values = np.asarray(values)
    copy = aligned_empty(values.shape, values.dtype)
    np.copyto(copy, values)
    return copy


def is_half(array: NDArray[Any]) -> bool:
    """Whether ``array`` is float16 or bfloat16."""
    return array.dtype.itemsize == 2


def named_dtype(name: str) -> np.dtype[Any]:
    """Return the dtype called ``name``, also ml_dtypes' bfloat16."""
    if name == "bfloat16":
        name = importlib.import_module("ml_dtypes").bfloat16
    return np.dtype(name)


def touched(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return zeros whose pages exist already, so that no contender pays for the first touch."""
    array = aligned_empty(shape, dtype)
    array.fill(0)
    return array


def tensor_view(array: NDArray[Any], torch: Any) -> Any:
    """Return ``array`` as a tensor of ``torch``, which does not know NumPy's bfloat16."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
