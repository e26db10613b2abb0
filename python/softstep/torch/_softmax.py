"""Softmax, its logarithm and its normaliser with the signatures of PyTorch."""

from __future__ import annotations

from typing import Any

import torch

from softstep._integers import integer
from softstep.torch._arguments import check_tensors
from softstep.torch._composed_softmax import COMPOSED
from softstep.torch._numbers import Number, checked, divided, value_and_tensor
from softstep.torch._softmax_kernel import DIFFERENTIABLE, KERNELS
from softstep.torch._tensors import FLOATS, PLAIN, is_eager, take_operators, wide_dtype


def softmax(
    input: torch.Tensor,
    dim: int,
    dtype: torch.dtype | None = None,
    *,
    temperature: Number = 1.0,
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
    temperature : float or Tensor
        Above 0; a tensor of one number gets its gradient.

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
    temperature: Number = 1.0,
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
    input: torch.Tensor,
    dim: int | tuple[int, ...],
    keepdim: bool = False,
    *,
    temperature: Number = 1.0,
) -> torch.Tensor:
    """`torch.logsumexp` of ``input / temperature`` along one axis or several.

    Integers are converted to the default dtype. The gradient of a row of -inf is 0, not NaN as
    PyTorch's.

    Examples
    --------
    >>> import torch
    >>> import softstep.torch as st
    >>> st.logsumexp(torch.zeros(2, 8), 1, keepdim=True)
    tensor([[2.0794],
            [2.0794]])
    >>> st.logsumexp(torch.zeros(2, 8), (0, 1))
    tensor(2.7726)
    """
    if not isinstance(input, torch.Tensor):
        check_tensors({"input": input}, {})
    if not (input.dtype.is_floating_point or input.dtype.is_complex):
        input = input.to(torch.get_default_dtype())
    if isinstance(dim, (tuple, list)):
        return _over_axes(input, tuple(dim), keepdim, temperature)
    if not isinstance(dim, int):
        dim = integer(dim, "dim")
    result = _map("logsumexp", input, dim, None, temperature)
    return result.unsqueeze(dim) if keepdim and input.ndim else result


def _over_axes(
    x: torch.Tensor, dims: tuple[int, ...], keepdim: bool, temperature: Number
) -> torch.Tensor:
    dims = tuple(_checked_dim(x, dim) for dim in dims)
    count = x.ndim
    axes = sorted({dim % max(count, 1) for dim in dims or range(count)})
    if len(axes) < len(dims):
        raise ValueError(f"dim: expected each axis once, got {dims}")
    if count:
        x = x.movedim(axes, list(range(-len(axes), 0))).flatten(-len(axes))
    result = _map("logsumexp", x, -1, None, temperature)
    if keepdim:
        for axis in axes[:count]:
            result = result.unsqueeze(axis)
    return result


def _map(
    name: str,
    x: torch.Tensor,
    dim: int,
    dtype: torch.dtype | None,
    temperature: Number,
) -> torch.Tensor:
    if not isinstance(x, torch.Tensor):
        check_tensors({"input": x}, {})
    if dtype is not None:
        x = x.to(dtype)
    if x.dtype not in FLOATS:
        raise TypeError(f"input: expected floats, got {x.dtype} of shape {tuple(x.shape)}")
    dim = _checked_dim(x, dim)
    result: torch.Tensor
    if x.ndim == 0:  # one class, as PyTorch
        result = _map(name, x.unsqueeze(0), 0, None, temperature)
        return result if name == "logsumexp" else result.squeeze(0)
    number: Any
    given, number, t = x.dtype, temperature, None
    if isinstance(temperature, torch.Tensor):
        number, t = value_and_tensor(temperature)
        x = x if t is None else x.to(wide_dtype(given))
    if x.is_nested:
        plain = t is None and number == 1
        result = getattr(torch, name)(x if plain else divided(x, temperature), dim)
    elif is_eager() and x.is_cpu and type(x) in PLAIN:
        if t is not None or (x.requires_grad and torch.is_grad_enabled()):
            result = DIFFERENTIABLE[name](x, dim, number, t)
        else:
            result = KERNELS[name](x, dim, number)
    elif t is None and x.is_cpu and take_operators(x):
        result = getattr(torch.ops.softstep, name)(x, dim, number)
    else:
        number = checked(number if t is None else t)
        result = COMPOSED[name](x.to(wide_dtype(given)), dim, number)
    return result if result.dtype is given else result.to(given)


def _checked_dim(x: torch.Tensor, dim: Any) -> int:
    number: int = dim if isinstance(dim, int) else integer(dim, "dim")
    count = max(x.ndim, 1)
    if not -count <= number < count:
        raise IndexError(f"dim: expected one of {x.ndim} dimensions, got {number}")
    return number
