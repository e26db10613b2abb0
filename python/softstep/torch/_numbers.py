"""Options that are numbers, given as tensors: those that require grad get their gradient."""

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


def settled(options: Options) -> tuple[Options, list[str]]:
    """Return the options with plain numbers where nothing is lost, and the names of the others."""
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
    return Options(*values), left


def with_temperature(options: Options, temperature: float) -> Options:
    """Return the options with another temperature."""
    values: list[Any] = list(options)
    values[Options._fields.index("temperature")] = temperature
    return Options(*values)


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
    result: torch.Tensor = x.to(wide_dtype(x.dtype)) / checked(temperature)
    return result


def checked(temperature: Number) -> Any:
    """Return a temperature above 0; of a tensor whose value is out of reach, as it is."""
    number = temperature
    if isinstance(temperature, torch.Tensor):
        temperature = scalar(temperature, "temperature")
        number = temperature.item() if is_eager() else 1.0
    elif isinstance(temperature, np.ndarray):
        number = temperature = temperature.item()
    if not 1e-30 <= number <= 1e30:
        raise ValueError(
            f"temperature: expected a number above 0 (in [1e-30, 1e30]), got {number:g}"
        )
    return temperature


def value_and_tensor(temperature: torch.Tensor) -> tuple[Any, torch.Tensor | None]:
    """Return a temperature's value, itself where that is out of reach, and what gets a gradient."""
    t = scalar(temperature, "temperature")
    if not is_eager():
        return t, t
    return t.item(), checked(t) if t.requires_grad and torch.is_grad_enabled() else None


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
