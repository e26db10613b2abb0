"""Every combination of the optimizers' options, and torch.optim on copies of the same arrays."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

SHAPES: list[tuple[int, ...]] = [(3, 4), (5,), (), (0,), (2, 3, 17), (131,)]

SGD_GRID = {
    "momentum": (0.0, 0.9),
    "dampening": (0.0, 0.5),
    "weight_decay": (0.0, 0.1),
    "nesterov": (False, True),
    "decoupled": (False, True),
    "decay_by_lr": (True, False),
    "maximize": (False, True),
    "max_norm": (None, 1.0),
}
ADAMW_GRID = {
    "betas": ((0.9, 0.999), (0.0, 0.5)),
    "eps": (1e-8, 1e-2),
    "amsgrad": (False, True),
    # So small that no clipped gradient and coupled decay cancel: AdamW divides by their sum.
    "weight_decay": (0.0, 0.01),
    "decoupled": (True, False),
    "decay_by_lr": (True, False),
    "maximize": (False, True),
    "max_norm": (None, 1.0),
}
Options = dict[str, Any]


def _combinations(grid: Mapping[str, Sequence[Any]], fits: Callable[[Options], Any]) -> Any:
    every = (dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values()))
    return [options for options in every if fits(options)]


def _decay_fits(o: Options) -> bool:
    return bool(o["decay_by_lr"] or (o["decoupled"] and o["weight_decay"]))


SGD_OPTIONS: list[Options] = _combinations(
    SGD_GRID,
    lambda o: _decay_fits(o) and (not o["nesterov"] or (o["momentum"] and not o["dampening"])),
)
ADAMW_OPTIONS: list[Options] = _combinations(ADAMW_GRID, _decay_fits)
OPTIONS = {"SGD": SGD_OPTIONS, "AdamW": ADAMW_OPTIONS}


def arrays(
    rng: np.random.Generator, shapes: Sequence[tuple[int, ...]], dtype: Any = np.float64
) -> list[NDArray[Any]]:
    """Normal numbers that are not near 0: AdamW divides by the size of its gradients."""
    signs = [rng.choice([-1.0, 1.0], size=shape) for shape in shapes]
    return [np.asarray(s * (0.3 + rng.random(s.shape))).astype(dtype) for s in signs]


def in_torch(rule: str, options: Options) -> bool:
    """Whether torch.optim has the option: its SGD couples the decay, nothing decays without lr."""
    return options["decay_by_lr"] and (rule == "AdamW" or not options["decoupled"])


class TorchOptimizer:
    """torch.optim on copies, with clip_grad_norm_; `params` are arrays that see its memory."""

    def __init__(
        self,
        rule: str,
        params: Sequence[Any],
        lr: float,
        *,
        decoupled: bool | None = None,
        decay_by_lr: bool = True,
        max_norm: float | None = None,
        **options: Any,
    ) -> None:
        self.torch = pytest.importorskip("torch")
        groups = params if isinstance(params[0], dict) else [{"params": params}]
        groups = [{**g, "params": [self._tensor(p) for p in g["params"]]} for g in groups]
        self.tensors = [tensor for group in groups for tensor in group["params"]]
        name = "Adam" if rule == "AdamW" and decoupled is False else rule
        self.optimizer = getattr(self.torch.optim, name)(groups, lr=lr, **options)
        self.max_norm = max_norm

    def _tensor(self, array: NDArray[Any]) -> Any:
        return self.torch.from_numpy(array.copy()).requires_grad_()

    @property
    def params(self) -> list[NDArray[Any]]:
        return [tensor.detach().numpy() for tensor in self.tensors]

    def step(self, grads: Sequence[NDArray[Any] | None]) -> float | None:
        for tensor, grad in zip(self.tensors, grads, strict=True):
            tensor.grad = None if grad is None else self.torch.from_numpy(grad.copy())
        norm = None
        if self.max_norm is not None:
            norm = float(self.torch.nn.utils.clip_grad_norm_(self.tensors, self.max_norm))
        self.optimizer.step()
        return norm
