"""Parameters that are divided among processes (DTensor): the local part, the norm of all parts."""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from softstep.optim.norm import Part, global_norm
from softstep.torch._tensors import HALVES, PLAIN, view


def is_sharded(tensor: torch.Tensor) -> bool:
    """Whether a tensor has its values elsewhere too."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def any_sharded(tensors: Sequence[torch.Tensor]) -> bool:
    """Whether one of them is."""
    return not PLAIN.issuperset(map(type, tensors)) and any(map(is_sharded, tensors))


def local(tensor: Any) -> torch.Tensor:
    """Return what this process has of a tensor; in no_grad."""
    part: torch.Tensor = tensor.to_local() if is_sharded(tensor) else tensor
    return part


def all_local(tensors: list[torch.Tensor]) -> list[torch.Tensor] | None:
    """Return the memory of tensors in this process, the same list if that is all; or None."""
    if PLAIN.issuperset(map(type, tensors)):
        return tensors
    parts = [local(tensor) for tensor in tensors]
    dispatch = torch.Tensor.__torch_dispatch__
    plain = all(type(part).__torch_dispatch__ == dispatch for part in parts)
    return parts if plain else None


def like_params(grads: list[Any], params: Sequence[Any]) -> list[torch.Tensor]:
    """Return the gradients divided as their parameters are."""
    if not any_sharded(params):
        return grads
    return [
        grad.redistribute(p.device_mesh, p.placements)
        if is_sharded(p) and is_sharded(grad) and grad.placements != p.placements
        else grad
        for grad, p in zip(grads, params, strict=True)
    ]


def norm_over_shards(
    every: Sequence[Any], params: Sequence[Any], grads: Sequence[torch.Tensor]
) -> tuple[float, bool]:
    """Return the 2-norm of all gradients, and whether they are finite.

    `grads` are the local parts of the parameters' gradients. All processes add up in the same
    order, which `every` parameter decides, with a gradient or without.
    """
    arrays: dict[Any, list[Any]] = {_divided(p): [] for p in every}
    for p, grad in zip(params, grads, strict=True):
        arrays[_divided(p)].append(view(grad.float() if grad.dtype in HALVES else grad))
    return global_norm([Part(found, _Sum(*where)) for where, found in arrays.items()])


def _divided(p: Any) -> tuple[Any, tuple[int, ...]]:
    """Return the mesh of a parameter, and the dimensions of it that divide the parameter."""
    if not is_sharded(p):
        return None, ()
    return p.device_mesh, tuple(d for d, place in enumerate(p.placements) if place.is_shard())


class _Sum:
    def __init__(self, mesh: Any, dimensions: tuple[int, ...]) -> None:
        self._mesh, self._dimensions = mesh, dimensions

    def __call__(self, number: float) -> float:
        total = torch.from_numpy(np.array([number]))
        for dimension in self._dimensions:
            torch.distributed.all_reduce(total, group=self._mesh.get_group(dimension))
        return float(total)
