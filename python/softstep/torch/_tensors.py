"""CPU tensors as NumPy views, and when the kernels may read a tensor's memory."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.autograd import forward_ad

from softstep._foreign import BFLOAT16_BITS
from softstep._typing import FloatArray

FLOATS = frozenset({torch.float32, torch.float64, torch.float16, torch.bfloat16})
HALVES = frozenset({torch.float16, torch.bfloat16})
PLAIN = frozenset({torch.Tensor, torch.nn.Parameter, type(None)})
"""No subclasses that keep their values elsewhere."""
TENSORS = PLAIN - {type(None)}

is_compiling = torch.compiler.is_compiling

# Of functorch (grad, vmap), of modes such as FakeTensorMode, of torch.jit: none has a cheap public
# query.
_transforms = torch._C._are_functorch_transforms_active
_modes = torch._C._len_torch_dispatch_stack
_tracing = torch._C._is_tracing
# Of the vmap before functorch, which is still behind `is_grads_batched`.
_functorch: Any = torch._C._functorch
_is_batched = getattr(_functorch, "is_legacy_batchedtensor", lambda _: False)


def is_eager() -> bool:
    """Whether operations run now, on real memory, with no derivative but autograd's backward."""
    return not (
        is_compiling() or _transforms() or _modes() or _tracing() or forward_ad._current_level >= 0
    )


def is_plain(upstream: torch.Tensor) -> bool:
    """Whether kernels can read the upstream gradient of a backward.

    Not of many backwards at once (vmap, `is_grads_batched`), nor a subclass.
    """
    return type(upstream) in PLAIN and not (_transforms() or _is_batched(upstream))


def is_forward_mode() -> bool:
    """Whether there may be tangents."""
    return forward_ad._current_level >= 0


def are_plain(*tensors: Any) -> bool:
    """Whether none keeps its values elsewhere."""
    return PLAIN.issuperset(map(type, tensors))


def take_operators(*tensors: Any) -> bool:
    """Whether what is traced is to be recorded as an operator of softstep."""
    if not (is_compiling() or _modes()) or _transforms() or is_forward_mode():
        return False
    for tensor in tensors:  # no `all`, nor `in` of a set, which Dynamo of PyTorch 2.8 cannot trace
        kind = type(tensor)
        if tensor is None or kind is torch.Tensor or kind is torch.nn.Parameter:
            continue
        if not kind.__module__.startswith("torch._subclasses"):
            return False
    return True


def sizes(tensor: torch.Tensor) -> tuple[int, ...]:
    """Return the shape, as plain numbers in a trace of torch.jit too."""
    if is_compiling() or not _tracing():
        return tuple(tensor.shape)
    state = torch._C._get_tracing_state()
    resume: Any = torch._C._set_tracing_state  # type: ignore[attr-defined]
    resume(None)
    try:
        return tuple(tensor.shape)
    finally:
        resume(state)


def values_of(tensor: torch.Tensor) -> Any:
    """Return what a tensor holds, as an array, below the wrappers of torch.func too.

    With the dimensions of vmap, wherever they are; None where values are out of reach.
    """
    if is_compiling() or _modes() or _tracing():
        return None
    while _functorch.is_functorch_wrapped_tensor(tensor):
        tensor = _functorch.get_unwrapped(tensor)
    if type(tensor) not in PLAIN or not all_dense([tensor]):
        return None
    with temporarily_clear_interpreter_stack():
        return view(tensor)


def all_dense(tensors: Sequence[torch.Tensor]) -> bool:
    """Whether they are in memory that the kernels can see; parameters may require grad."""
    return all(tensor.is_cpu and tensor.layout is torch.strided for tensor in tensors)


def view(tensor: torch.Tensor, bfloat16: Any = BFLOAT16_BITS, name: str = "") -> Any:
    """Return the tensor's memory as an array; in no_grad if it requires grad.

    That of a copy if its values are the negative of what is in memory. `name` is for an error.
    """
    try:
        if tensor.dtype is torch.bfloat16:
            return tensor.view(torch.int16).numpy().view(bfloat16)
        return tensor.numpy()
    except (RuntimeError, TypeError):
        if not tensor.is_cpu:
            lead = f"{name}: " if name else ""
            raise RuntimeError(
                f"{lead}expected all tensors on the device of input, cpu, "
                f"got one on {tensor.device}"
            ) from None
        if not (tensor.is_neg() or tensor._is_zerotensor()):
            raise
    return view(tensor.resolve_neg().clone(), bfloat16, name)


def of_array(array: FloatArray) -> torch.Tensor:
    """Return a tensor on the memory of an array of a kernel."""
    if array.itemsize == 2 and array.dtype != np.float16:
        return torch.from_numpy(array.view("i2")).view(torch.bfloat16)
    return torch.from_numpy(array)


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return what sums and losses of this dtype have."""
    return torch.float32 if dtype in HALVES else dtype
