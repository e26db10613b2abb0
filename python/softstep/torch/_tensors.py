"""CPU tensors as NumPy views, and when the kernels may read a tensor's memory."""

from collections.abc import Sequence
from typing import Any

import torch

from softstep._foreign import BFLOAT16_BITS
from softstep._typing import FloatArray

FLOATS = frozenset({torch.float32, torch.float64, torch.float16, torch.bfloat16})
HALVES = frozenset({torch.float16, torch.bfloat16})
PLAIN = frozenset({torch.Tensor, torch.nn.Parameter, type(None)})
"""No subclasses that keep their values elsewhere."""

is_compiling = torch.compiler.is_compiling

# Of functorch (grad, vmap) and of modes such as FakeTensorMode; both have no public query.
_transforms = torch._C._are_functorch_transforms_active
_modes = torch._C._len_torch_dispatch_stack


def is_eager() -> bool:
    """Whether operations run now, on real memory, rather than being traced or transformed."""
    return not (is_compiling() or _transforms() or _modes())


def is_transformed() -> bool:
    """Whether torch.func's grad or vmap is at work."""
    return not is_compiling() and bool(_transforms())


def all_dense(tensors: Sequence[torch.Tensor]) -> bool:
    """Whether they are in memory that the kernels can see; parameters may require grad."""
    return all(tensor.is_cpu and tensor.layout is torch.strided for tensor in tensors)


def view(tensor: torch.Tensor, bfloat16: Any = BFLOAT16_BITS) -> Any:
    """Return the tensor's memory as an array; in no_grad if it requires grad."""
    if tensor.dtype is torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(bfloat16)
    return tensor.numpy()


def of_array(array: FloatArray) -> torch.Tensor:
    """Return a tensor on the memory of an array of a kernel."""
    if array.dtype == BFLOAT16_BITS or array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view("i2")).view(torch.bfloat16)
    return torch.from_numpy(array)


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return what sums and losses of this dtype have."""
    return torch.float32 if dtype in HALVES else dtype
