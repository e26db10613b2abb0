"""Optimizers of softstep.torch beside PyTorch's, each on parameters of its own."""

from typing import Any

import pytest
import torch

import softstep.torch as st

RULES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9, "dampening": 0.5}),
    ("AdamW", {}),
    ("AdamW", {"amsgrad": True}),
]
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
HALVES = (torch.float16, torch.bfloat16)
every_rule = pytest.mark.parametrize(("name", "options"), RULES, ids=str)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def pair(name: str, params: Any, **options: Any) -> tuple[Any, Any, list[Any], list[Any]]:
    """Ours and PyTorch's, each on parameters of its own."""
    twins = [[torch.nn.Parameter(p.clone()) for p in params] for _ in range(2)]
    ours = getattr(st, name)(twins[0], 0.1, **options)
    return ours, getattr(torch.optim, name)(twins[1], 0.1, **options), *twins


def normal(*shape: int, seed: int = 0, dtype: Any = torch.float64) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def same(ours: list[Any], theirs: list[Any], half: bool = False) -> None:
    """Half precision is rounded once here, and after each operation there."""
    for p, q in zip(ours, theirs, strict=True):
        close = {"rtol": 2e-2, "atol": 2e-2} if half or p.dtype in HALVES else {}
        torch.testing.assert_close(p.detach(), q.detach(), **close)
