"""Softmax, its logarithm and its normaliser with the signatures of PyTorch."""

import torch

from softstep.torch._softmax_kernel import DIFFERENTIABLE, KERNELS, TRANSFORMED
from softstep.torch._tensors import FLOATS, PLAIN, is_eager, is_transformed


def softmax(
    input: torch.Tensor,
    dim: int,
    dtype: torch.dtype | None = None,
    *,
    temperature: float = 1.0,
) -> torch.Tensor:
    """`torch.softmax`, of ``input / temperature``.

    Parameters
    ----------
    input : Tensor
        Logits of any shape: float32, float64, float16 or bfloat16.
    dim : int
        The class axis.
    dtype : torch.dtype, optional
        What `input` is converted to first.
    temperature : float
        Above 0.

    Returns
    -------
    Tensor
        Of the shape and dtype of `input`. Differentiable any number of times.

    Raises
    ------
    IndexError, TypeError, ValueError
        For a dim, dtype or temperature that does not fit.

    Examples
    --------
    >>> import torch
    >>> import softstep.torch as st
    >>> st.softmax(torch.tensor([1.0, 2.0]), 0, temperature=0.5)
    tensor([0.1192, 0.8808])
    """
    return _map("softmax", input, dim, dtype, temperature)


def log_softmax(
    input: torch.Tensor,
    dim: int,
    dtype: torch.dtype | None = None,
    *,
    temperature: float = 1.0,
) -> torch.Tensor:
    """`torch.log_softmax`, of ``input / temperature``; arguments as of `softmax`.

    Examples
    --------
    >>> import torch
    >>> import softstep.torch as st
    >>> st.log_softmax(torch.tensor([1000.0, 0.0]), 0)
    tensor([    0., -1000.])
    """
    return _map("log_softmax", input, dim, dtype, temperature)


def logsumexp(
    input: torch.Tensor, dim: int, keepdim: bool = False, *, temperature: float = 1.0
) -> torch.Tensor:
    """`torch.logsumexp` of ``input / temperature`` along one axis.

    The gradient of a row of -inf is 0, not NaN as PyTorch's.

    Examples
    --------
    >>> import torch
    >>> import softstep.torch as st
    >>> st.logsumexp(torch.zeros(2, 8), 1, keepdim=True)
    tensor([[2.0794],
            [2.0794]])
    """
    result = _map("logsumexp", input, dim, None, temperature)
    return result.unsqueeze(dim) if keepdim else result


def _map(
    name: str,
    x: torch.Tensor,
    dim: int,
    dtype: torch.dtype | None,
    temperature: float,
) -> torch.Tensor:
    if dtype is not None:
        x = x.to(dtype)
    if x.dtype not in FLOATS or x.ndim == 0:
        raise TypeError(
            f"input: expected floats of at least one dimension, got {x.dtype} of shape "
            f"{tuple(x.shape)}"
        )
    if not -x.ndim <= dim < x.ndim:
        raise IndexError(f"dim: expected one of {x.ndim} dimensions, got {dim}")
    if not x.is_cpu:
        result: torch.Tensor = getattr(torch, name)(x / temperature, dim)
        return result
    if not is_eager() or type(x) not in PLAIN:
        operator = getattr(torch.ops.softstep, name)
        result = (TRANSFORMED[name].apply if is_transformed() else operator)(x, dim, temperature)
        return result
    if not (x.requires_grad and torch.is_grad_enabled()):
        return KERNELS[name](x, dim, temperature)
    result = DIFFERENTIABLE[name].apply(x, dim, temperature)
    return result
