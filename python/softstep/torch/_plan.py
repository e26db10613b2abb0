"""The memory that a native step of PyTorch's optimizers works on, and how long that holds."""

from collections.abc import Sequence
from operator import is_
from typing import Any, NamedTuple

import numpy as np
import torch

import softstep._core as _core
from softstep.optim.rules import Rule
from softstep.torch._shards import local
from softstep.torch._tensors import HALVES, all_dense, view, wide_dtype


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
            and self.groups == other.groups  # of one length then
            and all(map(is_, self.params, other.params))
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
        # What is in the state: one in a line of the three lists.
        self._homes: list[dict[str, Any]] = []
        self._names: list[str] = []
        self._tensors: list[torch.Tensor] = []
        arrays: list[list[Any]] = [[None] * count for _ in rule.states]
        masters: list[Any] = [None] * count
        for k, (p, i) in enumerate(zip(given.params, given.groups, strict=True)):
            for place, name in enumerate(rule.states[: given.states[i]]):
                arrays[place][k] = self._array(k, name, wide_dtype(p.dtype))
            if self._steps is not None:
                self._steps[k] = float(self._states[k].get("step", 0))
                self._put(k, "step", self._steps[k])
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
            and all(map(is_, map(dict.get, self._homes, self._names), self._tensors))
        )

    def views(self, grads: Sequence[torch.Tensor]) -> list[Any] | None:
        """Return the memory of gradients; None if one of them has none that the kernels can see.

        Of other dtypes than the parameters' they are copied into a wide one.
        """
        dtypes = self.layout.dtypes
        try:
            if [grad.dtype for grad in grads] == dtypes and torch.bfloat16 not in dtypes:
                return [grad.numpy() for grad in grads]
        except (TypeError, RuntimeError):
            pass
        if not all_dense(grads):
            return None
        wide = [
            grad if grad.dtype is dtype else grad.to(wide_dtype(dtype))
            for grad, dtype in zip(grads, dtypes, strict=True)
        ]
        return [view(grad.resolve_neg()) for grad in wide]

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
        for state, name, tensor in zip(self._homes, self._names, self._tensors, strict=True):
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
        self._put(k, name, tensor)
        return view(local(tensor))

    def _master(self, k: int, p: torch.Tensor, memory: torch.Tensor) -> Any:
        master = self._states[k].get("master")
        if master is None:
            master = p.detach().float()
        elif not torch.equal(local(master).to(memory.dtype), memory):
            # The parameter has been given other values, with which training goes on.
            master = torch.where(master.to(p.dtype) == p, master, p.detach().float())
        self._put(k, "master", master)
        return view(local(master))

    def _put(self, k: int, name: str, tensor: torch.Tensor) -> None:
        self._homes.append(self._states[k])
        self._names.append(name)
        self._tensors.append(tensor)


def _steps(count: int) -> torch.Tensor:
    """As PyTorch's, whose dtype follows the default one, but for half precision."""
    double = torch.get_default_dtype() is torch.float64
    dtype = torch.float64 if double else torch.float32
    return torch.zeros(count, dtype=dtype, device="cpu")
