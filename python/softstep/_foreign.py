"""Arrays of other libraries in CPU memory, seen as NumPy arrays without a copy."""

import sys
from typing import Any

import numpy as np

from softstep._typing import FloatArray

BFLOAT16_BITS = np.dtype([("bfloat16", np.uint16)])
"""bfloat16 for the kernels where ml_dtypes is not needed: the caller never sees the arrays."""

# Before, whatever `from_dlpack` returns is read-only.
_WRITES_DLPACK = np.lib.NumpyVersion(np.__version__) >= "2.3.0"

# DLPack's numbers: CPU, and memory of CUDA and ROCm that the host can read.
_HOST_DEVICES = (1, 3, 11)


def as_input(array: Any, name: str) -> Any:
    """Return a view that is only read."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        return _of_tensor(array.resolve_neg(), name, torch)
    _require_host(array, name)
    if hasattr(array, "__array__") or hasattr(array, "__array_interface__"):
        return np.asarray(array)  # JAX: sharded arrays and bfloat16 too
    return np.from_dlpack(array)


def as_output(array: Any, name: str) -> Any:
    """Return a view that may be written; NumPy knows if the export is read-only."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        view = _of_tensor(array, name, torch)
        torch.autograd.graph.increment_version(array)
        return view
    if type(array).__module__.partition(".")[0] in ("jax", "jaxlib"):
        raise TypeError(f"{name}: expected a NumPy array, got a JAX array, which is immutable")
    if hasattr(array, "__array_interface__"):
        return np.asarray(array)
    _require_host(array, name)
    view = np.from_dlpack(array)
    if not (view.flags.writeable or _WRITES_DLPACK):
        raise TypeError(
            f"{name}: NumPy {np.__version__} only reads memory by DLPack; expected NumPy 2.3 or "
            "later, or an array that exports __array_interface__"
        )
    return view


def widened(bits: FloatArray) -> FloatArray:
    """Return float32 values of an array of `BFLOAT16_BITS`."""
    return (bits["bfloat16"].astype(np.uint32) << np.uint32(16)).view(np.float32)


def _require_host(array: Any, name: str) -> None:
    device = array.__dlpack_device__()
    if device[0] not in _HOST_DEVICES:
        raise TypeError(
            f"{name}: expected an array in CPU memory, got one on DLPack device {tuple(device)}"
        )


def _of_tensor(tensor: Any, name: str, torch: Any) -> Any:
    if tensor.device.type != "cpu":
        raise TypeError(f"{name}: expected a tensor on the CPU, got one on {tensor.device}")
    if tensor.requires_grad:
        raise TypeError(
            f"{name}: expected a tensor without requires_grad: NumPy has no autograd; use "
            "softstep.torch, or detach()"
        )
    if tensor.dtype is not torch.bfloat16:
        return tensor.numpy()
    try:
        from ml_dtypes import bfloat16
    except ModuleNotFoundError:
        raise TypeError(f"{name}: bfloat16 arrays need the package ml_dtypes") from None
    return tensor.view(torch.int16).numpy().view(bfloat16)
