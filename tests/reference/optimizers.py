"""The specification of the optimizers' step, in float64 NumPy; part of `reference`.

A None gradient leaves its parameter and that one's state alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Number = float | Callable[[int], float]


class StepResult(NamedTuple):
    norm: float | None
    skipped: bool


def global_norm(grads: Sequence[NDArray[Any] | None], grad_scale: float = 1.0) -> float:
    """The 2-norm of all elements of the gradients, None left out, after `grad_scale`."""
    present = [g.astype(np.float64) / grad_scale for g in grads if g is not None]
    return float(np.sqrt(sum((g**2).sum() for g in present)))


def clip_coefficient(norm: float, max_norm: float) -> float:
    """torch.nn.utils.clip_grad_norm_'s factor, with its 1e-6; NaN for a NaN norm."""
    return 1.0 if max_norm / (norm + 1e-6) >= 1 else max_norm / (norm + 1e-6)


def now(number: Number, step: int) -> float:
    return number(step) if callable(number) else number


class Optimizer(ABC):
    """What the rules share: groups, scales of the gradient, decay. `params` are float64 copies."""

    defaults: Mapping[str, Any] = {
        "weight_decay": 0.0,
        "decay_by_lr": True,
        "maximize": False,
        "min_decay_ndim": 0,
    }

    def __init__(
        self,
        params: Sequence[Any],
        lr: Number,
        *,
        max_norm: float | None = None,
        skip_nonfinite: bool = False,
        **options: Any,
    ) -> None:
        common = {**type(self).defaults, **options, "lr": lr}
        self.params: list[Array] = []
        self.options: list[dict[str, Any]] = []
        for group in params if isinstance(params[0], dict) else [{"params": params}]:
            self.params += [np.array(p, np.float64) for p in group["params"]]
            self.options += [{**common, **group}] * len(group["params"])
        self.states: list[dict[str, Any]] = [{} for _ in self.params]
        self.max_norm, self.skip_nonfinite, self.steps = max_norm, skip_nonfinite, 0

    @property
    def lr(self) -> Any:
        return self.options[0]["lr"]

    @lr.setter
    def lr(self, lr: Number) -> None:
        for options in self.options:
            options["lr"] = lr

    def step(
        self,
        grads: Sequence[NDArray[Any] | None],
        *,
        lr: float | None = None,
        grad_scale: float = 1.0,
        zero_grads: bool = False,
    ) -> StepResult:
        norm = None
        if self.max_norm is not None or self.skip_nonfinite:
            norm = global_norm(grads, grad_scale)
        if self.skip_nonfinite and not all(np.isfinite(g).all() for g in grads if g is not None):
            return StepResult(norm, True)
        for k, grad in enumerate(grads):
            if grad is None:
                continue
            o = self.options[k]
            g = grad.astype(np.float64) / grad_scale
            if self.max_norm is not None and norm is not None:
                g = g * clip_coefficient(norm, self.max_norm)
            if o["maximize"]:
                g = -g
            rate = now(o["lr"], self.steps) if lr is None else lr
            decay = now(o["weight_decay"], self.steps)
            if self.params[k].ndim < o["min_decay_ndim"]:
                decay = 0.0
            if not o["decoupled"]:
                g = g + decay * self.params[k]
            elif o["decay_by_lr"]:
                self.params[k] *= 1 - rate * decay
            else:
                self.params[k] *= 1 - decay
            self.params[k] -= self.update(self.states[k], g, rate, o)
            if zero_grads:
                grad[...] = 0
        self.steps += 1
        return StepResult(norm, False)

    @abstractmethod
    def update(self, state: dict[str, Any], g: Array, lr: float, o: Mapping[str, Any]) -> Array:
        """Advance the state of a parameter; return what is subtracted from it."""


class SGD(Optimizer):
    """torch.optim.SGD."""

    defaults: Mapping[str, Any] = {
        **Optimizer.defaults,
        "momentum": 0.0,
        "dampening": 0.0,
        "nesterov": False,
        "decoupled": False,
    }

    def update(self, state: dict[str, Any], g: Array, lr: float, o: Mapping[str, Any]) -> Array:
        momentum = o["momentum"]
        if momentum == 0:
            return lr * g
        b = state.get("momentum_buffer")
        # The first gradient is not damped.
        b = g.copy() if b is None else momentum * b + (1 - o["dampening"]) * g
        state["momentum_buffer"] = b
        return lr * (g + momentum * b) if o["nesterov"] else lr * b


class AdamW(Optimizer):
    """torch.optim.AdamW; with decoupled=False torch.optim.Adam."""

    defaults: Mapping[str, Any] = {
        **Optimizer.defaults,
        "weight_decay": 0.01,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "decoupled": True,
        "amsgrad": False,
    }

    def update(self, state: dict[str, Any], g: Array, lr: float, o: Mapping[str, Any]) -> Array:
        beta1, beta2 = o["betas"]
        m, v = state.get("exp_avg", 0.0), state.get("exp_avg_sq", 0.0)
        t = state.get("step", 0) + 1
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        state.update(step=t, exp_avg=m, exp_avg_sq=v)
        if o["amsgrad"]:
            v = state["max_exp_avg_sq"] = np.maximum(state.get("max_exp_avg_sq", 0.0), v)
        return lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + o["eps"])
