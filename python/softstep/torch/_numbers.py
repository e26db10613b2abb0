"""Options that are numbers, given as tensors: those that require grad get their gradient."""

import math
from typing import Any

import numpy as np
import torch

from softstep.losses.options import Options
from softstep.torch._tensors import is_eager, wide_dtype

Number = float | torch.Tensor
"""What a function takes as a number."""
Numbers: Any = Options
"""Options whose numbers may be tensors."""


def are_tensors(options: Options) -> bool:
    """Whether one of the options is a tensor."""
    return any(isinstance(value, torch.Tensor) for value in options)


def settled(options: Options) -> tuple[Options, bool, torch.Tensor | None]:
    """Return the options with plain numbers where nothing is lost, and whether others are left.

    The last is a temperature that the logits are to be divided by, instead.
    """
    real, recording = is_eager(), torch.is_grad_enabled()
    values: list[Any] = []
    left: list[str] = []
    for name, value in zip(Options._fields, options, strict=True):
        if isinstance(value, torch.Tensor):
            value = scalar(value, name)
            if real and not (recording and value.requires_grad):
                value = value.item()
            elif name == "ignore_index":
                raise TypeError("ignore_index: expected an int, got a tensor that is traced")
            else:
                left.append(name)
        values.append(value)
    if left == ["temperature"] and options.softcap is None:
        at = Options._fields.index("temperature")
        temperature, values[at] = values[at], 1.0
        return Options(*values), False, temperature
    return Options(*values), bool(left), None


def scalar(value: torch.Tensor, name: str) -> torch.Tensor:
    """Return a tensor of one number without dimensions."""
    if value.numel() != 1 or value.is_complex():
        raise TypeError(
            f"{name}: expected a number or a tensor of one, got {value.dtype} of shape "
            f"{tuple(value.shape)}"
        )
    return value.reshape(())


def divided(x: torch.Tensor, temperature: Number) -> torch.Tensor:
    """Return logits over a temperature that may require grad, of the dtype that is computed in."""
    return x.to(wide_dtype(x.dtype)) / checked(temperature)


def checked(temperature: Number) -> Number:
    """Return a temperature above 0; of a tensor whose value is out of reach, as it is."""
    number = temperature
    if isinstance(temperature, torch.Tensor):
        temperature = scalar(temperature, "temperature")
        number = temperature.item() if is_eager() else 1.0
    elif isinstance(temperature, np.ndarray):
        number = temperature = temperature.item()
    if not 0 < number < math.inf:
        raise ValueError(f"temperature: expected a finite number above 0, got {number}")
    return temperature


def of_python(options: Options) -> Options:
    """Return the options without NumPy's numbers, which take tensors for arrays."""
    numpy = (np.generic, np.ndarray)
    values: list[Any] = [v.item() if isinstance(v, numpy) else v for v in options]
    return Options(*values)


def floats(options: Options) -> dict[str, Any]:
    """Return the options for a check; of tensors whose values are out of reach the defaults."""
    values = {}
    for (name, value), default in zip(
        zip(Options._fields, options, strict=True), Options(), strict=True
    ):
        if isinstance(value, torch.Tensor):
            value = value.item() if is_eager() else default
        values[name] = value
    return values
