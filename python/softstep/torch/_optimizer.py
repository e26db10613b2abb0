"""The native step under PyTorch's optimizers: plan, state tensors, loss scaling, fallback."""

from collections.abc import Callable
from copy import copy
from typing import Any, NamedTuple

import numpy as np
import torch

import softstep._core as _core
from softstep.optim.optimizer import StepResult
from softstep.optim.options import check_rounding, norm_limit
from softstep.optim.rules import SGD, Rule
from softstep.torch._tensors import FLOATS, HALVES, view, wide_dtype


class Plan(NamedTuple):
    """What holds as long as the same parameters have gradients, at the same addresses."""

    native: _core.UpdatePlan
    params: list[torch.Tensor]
    addresses: list[int]
    states: list[int]  # how many each group has
    slots: list[tuple[dict[str, Any], str, torch.Tensor]]
    counts: Any
    steps: torch.Tensor | None  # memory of every state["step"]
    state: Any  # the optimizer's dict of states


class Extensions(NamedTuple):
    """Options beyond PyTorch's, of the whole optimizer."""

    max_norm: float | None = None
    skip_nonfinite: bool = False
    master: bool = False
    stochastic_rounding: bool = False
    seed: int = 0

    def checked(self) -> "Extensions":
        """Refuse what does not fit."""
        norm_limit(self.max_norm)
        check_rounding(self.master, self.stochastic_rounding)
        return self


class NativeStep(torch.optim.Optimizer):
    """A mixin before one of PyTorch's optimizers, whose step it replaces where it can."""

    _rule: Rule
    _plan: Plan | None = None
    _steps_done = 0  # decides the stochastic rounding
    extensions = Extensions()
    last_step = StepResult(None, False)
    # The gradient scaler then hands over grad_scale and found_inf.
    _step_supports_amp_scaling = True

    def _extend(self, decoupled: bool, extensions: Extensions) -> None:
        self.extensions = extensions.checked()
        self.defaults["decoupled"] = decoupled
        for group in self.param_groups:
            group.setdefault("decoupled", decoupled)
            self._numbers(group)

    def _numbers(self, group: dict[str, Any]) -> _core.UpdateGroup:
        decoupled = group.get("decoupled", self.defaults["decoupled"])
        options = {**group, "decoupled": decoupled, "decay_by_lr": True, "min_decay_ndim": 0}
        return self._rule.numbers(options, group["lr"], group["weight_decay"])

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient, or, if anything does not fit, none.

        What the step found is in `last_step`: the norm of the gradients, where `max_norm` or
        `skip_nonfinite` asks for it, and whether it was skipped.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        found_inf = getattr(self, "found_inf", None)
        if found_inf is not None and bool(found_inf.item()):
            self.last_step = StepResult(None, True)
            return loss
        with torch.no_grad():
            given = [
                (p, p.grad, i)
                for i, group in enumerate(self.param_groups)
                for p in group["params"]
                if p.grad is not None
            ]
            if all(_is_native(p, grad) for p, grad, _ in given) and not self._differs():
                self._native_step(given)
            else:
                self._torch_step()
        return loss

    def _differs(self) -> bool:
        names = ("amsgrad", "differentiable", "capturable")
        return any(group.get(name) for group in self.param_groups for name in names)

    def _native_step(self, given: list[tuple[torch.Tensor, torch.Tensor, int]]) -> None:
        numbers = [self._numbers(group) for group in self.param_groups]
        states = [group.states for group in numbers]
        params = [p for p, _, _ in given]
        plan = self._plan
        if plan is None or plan.states != states or not self._fits(plan, params):
            plan = self._plan = self._planned(params, [i for _, _, i in given], states)
        scale = getattr(self, "grad_scale", None)
        own = self.extensions
        self.last_step = StepResult(
            *plan.native.step(
                [view(grad) for _, grad, _ in given],
                numbers,
                own.max_norm,
                own.skip_nonfinite,
                1.0 if scale is None else float(scale),
                False,
                own.seed if own.stochastic_rounding else None,
                self._steps_done,
            )
        )
        if self.last_step.skipped:
            return
        self._steps_done += 1
        for p in params:
            torch.autograd.graph.increment_version(p)
        if plan.steps is not None:
            plan.steps.add_(1)

    def _fits(self, plan: Plan, params: list[torch.Tensor]) -> bool:
        return (
            len(plan.params) == len(params)
            and plan.state is self.state
            and all(a is b for a, b in zip(plan.params, params, strict=True))
            and plan.addresses == [p.data_ptr() for p in params]
            and all(state.get(name) is tensor for state, name, tensor in plan.slots)
        )

    def _planned(self, params: list[torch.Tensor], groups: list[int], states: list[int]) -> Plan:
        """Make the states that are missing, and hand over all memory to the extension."""
        rule = self._rule
        counts = np.zeros(len(params), np.int64)
        steps = torch.zeros(len(params)) if rule.stepped else None
        slots: list[tuple[dict[str, Any], str, torch.Tensor]] = []
        arrays: list[list[Any]] = [[None] * len(params) for _ in rule.states]
        masters: list[Any] = [None] * len(params)
        for k, (p, i) in enumerate(zip(params, groups, strict=True)):
            state = self.state[p] if states[i] or self.extensions.master else {}
            for place, name in enumerate(rule.states[: states[i]]):
                if state.get(name) is None:
                    state[name] = torch.zeros_like(p, dtype=wide_dtype(p.dtype))
                else:
                    counts[k] = int(state["step"]) if rule.stepped else 1
                    if state[name].dtype != wide_dtype(p.dtype):  # from PyTorch's optimizer
                        state[name] = state[name].to(wide_dtype(p.dtype))
                arrays[place][k] = view(state[name])
                slots.append((state, name, state[name]))
            if steps is not None:
                steps[k] = int(counts[k])
                state["step"] = steps[k]
                slots.append((state, "step", state["step"]))
            if self.extensions.master and p.dtype in HALVES:
                master = state.setdefault("master", p.detach().float())
                slots.append((state, "master", master))
                masters[k] = view(master)
        native = _core.UpdatePlan(
            rule.name, [view(p) for p in params], arrays, masters, counts, groups, False
        )
        addresses = [p.data_ptr() for p in params]
        return Plan(native, params, addresses, states, slots, counts, steps, self.state)

    def _torch_step(self) -> None:
        decoupled = self._rule is SGD and any(g.get("decoupled") for g in self.param_groups)
        if decoupled or self.extensions != Extensions():
            raise RuntimeError(
                "step: decoupled, max_norm, skip_nonfinite, master and stochastic_rounding need "
                "dense CPU tensors of a float dtype, and no amsgrad, differentiable or capturable"
            )
        scale = getattr(self, "grad_scale", None)
        if scale is not None:
            grads = [p.grad for group in self.param_groups for p in group["params"]]
            for grad in grads:
                if grad is not None:
                    grad.div_(scale.to(grad.device))
        base: Any = super().step
        # Its hooks have run already.
        unhooked = getattr(base.__func__, "__wrapped__", None) if _hooked(base) else None
        if unhooked is None:
            base()
        else:
            unhooked(self)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state of this optimizer or of PyTorch's; that of half precision stays float32."""
        super().load_state_dict(state_dict)
        saved = state_dict["state"]
        for group, old in zip(self.param_groups, state_dict["param_groups"], strict=True):
            for p, key in zip(group["params"], old["params"], strict=True):
                for name, value in saved.get(key, {}).items():
                    if not isinstance(value, torch.Tensor):
                        continue
                    # PyTorch rounds the state to the parameter's dtype, and may share the memory.
                    loaded = self.state[p][name]
                    wide = p.dtype in HALVES and name != "step"
                    source = value.detach().to(p.device, torch.float32) if wide else loaded
                    self.state[p][name] = source.clone()
        self._plan = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the plan, which holds addresses."""
        base: Any = super()
        state = copy(base.__getstate__())
        extra = {"extensions": self.extensions, "_steps_done": self._steps_done}
        return {**state, **extra}


def _hooked(step: Any) -> bool:
    return bool(getattr(step, "hooked", False))


def _is_native(p: torch.Tensor, grad: torch.Tensor) -> bool:
    return (
        p.is_cpu
        and p.dtype in FLOATS
        and grad.is_cpu
        and grad.layout is torch.strided
        and p.layout is torch.strided
        and not grad.requires_grad
    )
