"""The memory that a native step of PyTorch's optimizers works on, and how long that holds."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

import softstep._core as _core
from softstep.optim.rules import Rule
from softstep.torch._shards import local
from softstep.torch._tensors import HALVES, view, wide_dtype


class Given(NamedTuple):
    """Parameters that have gradients, the group of each, and what their groups hold."""

    params: list[torch.Tensor]
    groups: list[int]
    states: list[int]  # how many of the rule's each group uses
    state: dict[Any, Any]  # the optimizer's

    def holds(self, other: "Given") -> bool:
        """Whether both are the same objects."""
        return (
            self.state is other.state
            and self.states == other.states
            and self.groups == other.groups
            and len(self.params) == len(other.params)
            and all(a is b for a, b in zip(self.params, other.params, strict=True))
        )


class Layout(NamedTuple):
    """Where tensors lie; ``p.data = ...`` may change any of it."""

    addresses: list[int]
    shapes: list[Any]
    strides: list[Any]
    dtypes: list[torch.dtype]

    @classmethod
    def of(cls, tensors: Sequence[torch.Tensor]) -> "Layout":
        """Return that of now."""
        return cls(
            list(map(torch.Tensor.data_ptr, tensors)),
            list(map(torch.Tensor.size, tensors)),
            list(map(torch.Tensor.stride, tensors)),
            [tensor.dtype for tensor in tensors],
        )


class Plan:
    """A native plan over the parameters that have gradients, with their states.

    Nothing is kept in the optimizer's state before `keep`, so that a step that is skipped or
    refused leaves no state behind.
    """

    def __init__(
        self, rule: Rule, given: Given, memory: list[torch.Tensor], layout: Layout, master: bool
    ) -> None:
        self.given, self.layout = given, layout
        count = len(memory)
        self._counts = np.zeros(count, np.int64)
        self._steps = _steps(count) if rule.stepped else None
        self._states = [given.state.get(p, {}) for p in given.params]
        self._slots: list[tuple[dict[str, Any], str, torch.Tensor]] = []
        arrays: list[list[Any]] = [[None] * count for _ in rule.states]
        masters: list[Any] = [None] * count
        for k, (p, i) in enumerate(zip(given.params, given.groups, strict=True)):
            for place, name in enumerate(rule.states[: given.states[i]]):
                arrays[place][k] = self._array(k, name, wide_dtype(p.dtype))
            if self._steps is not None:
                self._steps[k] = float(self._states[k].get("step", 0))
                self._slots.append((self._states[k], "step", self._steps[k]))
            if master and p.dtype in HALVES:
                masters[k] = self._master(k, p, memory[k])
        params = [view(tensor) for tensor in memory]
        self.native = _core.UpdatePlan(
            rule.name, params, arrays, masters, self._counts, given.groups, False, True
        )

    def fits(self, given: Given, layout: Layout) -> bool:
        """Whether parameters and states are those of the plan, where they were."""
        return (
            self.given.holds(given)
            and self.layout == layout
            and all(state.get(name) is tensor for state, name, tensor in self._slots)
        )

    def views(self, grads: Sequence[torch.Tensor]) -> list[Any]:
        """Return the memory of gradients; of other dtypes than the parameters', in a wide one."""
        dtypes = [grad.dtype for grad in grads]
        if dtypes != self.layout.dtypes:
            grads = [
                grad if grad.dtype is dtype else grad.to(wide_dtype(dtype))
                for grad, dtype in zip(grads, self.layout.dtypes, strict=True)
            ]
        try:
            return [view(grad) for grad in grads]
        except RuntimeError:  # NumPy has no negative bit
            return [view(grad.resolve_neg()) for grad in grads]

    def read_counts(self) -> None:
        """Take the numbers of steps from the state, which others may write."""
        if self._steps is not None:
            np.copyto(self._counts, self._steps.numpy(), casting="unsafe")

    def count(self) -> None:
        """Write the numbers of steps into the state, after one that was not skipped."""
        if self._steps is not None:
            np.copyto(self._steps.numpy(), self._counts, casting="unsafe")

    def keep(self) -> None:
        """Have the states that a step has written in the optimizer."""
        for state, name, tensor in self._slots:
            state[name] = tensor
        for p, state in zip(self.given.params, self._states, strict=True):
            if state:
                self.given.state[p] = state

    def _array(self, k: int, name: str, dtype: torch.dtype) -> Any:
        tensor = self._states[k].get(name)
        if tensor is None:
            tensor = torch.zeros_like(self.given.params[k], dtype=dtype)
        else:
            self._counts[k] = 1
            tensor = tensor.to(dtype)  # PyTorch's has that of the parameter
        self._slots.append((self._states[k], name, tensor))
        return view(local(tensor))

    def _master(self, k: int, p: torch.Tensor, memory: torch.Tensor) -> Any:
        master = self._states[k].get("master")
        if master is None:
            master = p.detach().float()
        elif not torch.equal(local(master).to(memory.dtype), memory):
            # The parameter has been given other values, with which training goes on.
            master = torch.where(master.to(p.dtype) == p, master, p.detach().float())
        self._slots.append((self._states[k], "master", master))
        return view(local(master))


def _steps(count: int) -> torch.Tensor:
    """As PyTorch's, whose dtype follows the default one, but for half precision."""
    double = torch.get_default_dtype() is torch.float64
    dtype = torch.float64 if double else torch.float32
    return torch.zeros(count, dtype=dtype, device="cpu")
