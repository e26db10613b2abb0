"""Errors in the names of the torch signatures; most are made only after something has failed."""

import re
from collections.abc import Mapping
from typing import Any

import torch


def check_tensors(required: dict[str, Any], optional: dict[str, Any]) -> None:
    """Refuse what is no tensor, and tensors that are not on the device of the first."""
    device = None
    for name, value in (*required.items(), *optional.items()):
        if value is None and name in optional:
            continue
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"{name}: expected a tensor, got {type(value).__name__}")
        device = value.device if device is None else device
        if value.device != device:
            raise RuntimeError(
                f"{name}: expected all tensors on the device of {next(iter(required))}, {device}, "
                f"got one on {value.device}"
            )


def renamed(error: Exception, names: Mapping[str, str]) -> Exception:
    """Return an error of this package with other names of arguments; PyTorch's own as it is.

    "weight: expected shape (V, 3) for hidden of shape ..." speaks of two.
    """
    found = re.fullmatch(r"(\w+(?:, \w+)*)(:.*)", str(error), re.DOTALL)
    if found is None or type(error) not in (IndexError, RuntimeError, TypeError, ValueError):
        return error
    lead = re.sub(r"\w+", lambda word: names.get(word[0], word[0]), found[1])
    rest = re.sub(r"\b(hidden|input)\b", lambda word: names.get(word[0], word[0]), found[2])
    return type(error)(lead + rest)
