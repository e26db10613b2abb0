"""The native step under PyTorch's optimizers: loss scaling, fallback, states that are loaded."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, NamedTuple

import torch
from torch.autograd.graph import increment_version

import softstep._core as _core
from softstep.optim.optimizer import StepResult
from softstep.optim.options import check_rounding, norm_limit
from softstep.optim.rules import SGD, Rule
from softstep.torch._plan import Given, Layout, Plan
from softstep.torch._shards import all_local, any_sharded, like_params, norm_over_shards
from softstep.torch._tensors import FLOATS, HALVES, all_dense


class Extensions(NamedTuple):
    """Options beyond PyTorch's, of the whole optimizer."""

    max_norm: float | None = None
    skip_nonfinite: bool = False
    master: bool = False
    stochastic_rounding: bool = False
    seed: int = 0

    def checked(self) -> Extensions:
        """Refuse what does not fit."""
        norm_limit(self.max_norm)
        check_rounding(self.master, self.stochastic_rounding)
        return self


class NativeStep(torch.optim.Optimizer):
    """A mixin before one of PyTorch's optimizers, whose step it replaces where it can."""

    _rule: Rule
    _plan: Plan | None = None
    _handed: dict[str, Any] | None = None  # the state that is being loaded
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
        self._numbers()

    def _numbers(self) -> _core.UpdateGroups:
        """Check the options of all groups, and return the numbers of a step."""
        before = {"decoupled": self.defaults["decoupled"]}  # PyTorch's states lack it
        after = {"decay_by_lr": True, "min_decay_ndim": 0}
        groups = [{**before, **group, **after} for group in self.param_groups]
        return _core.UpdateGroups(self._rule.name, groups)

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
            if not self._native_step():
                self._torch_step()
        return loss

    def _native_step(self) -> bool:
        """Step, and return True; or False where that is PyTorch's to do."""
        with_grads = [
            (p, grad, i)
            for i, group in enumerate(self.param_groups)
            for p in group["params"]
            if (grad := p.grad) is not None
        ]
        params = [p for p, _, _ in with_grads]
        memory = all_local(params)
        grads = all_local(like_params([grad for _, grad, _ in with_grads], params))
        if memory is None or grads is None:
            return False
        for group in self.param_groups:
            if group.get("differentiable") or group.get("capturable"):
                return False
        numbers = self._numbers()
        given = Given(params, [i for _, _, i in with_grads], numbers.states, self.state)
        layout = Layout.of(memory)
        plan = self._plan
        if plan is None or not plan.fits(given, layout):
            plain = FLOATS.issuperset(layout.dtypes) and all_dense(memory)
            if not plain or any(map(torch.Tensor.is_neg, memory)):
                return False
            if (
                any(map(torch.Tensor.is_inference, memory))
                and not torch.is_inference_mode_enabled()
            ):
                raise RuntimeError(
                    "params: expected no inference tensors, which only a step in inference mode "
                    "may change; pass a clone()"
                )
            plan = Plan(self._rule, given, memory, layout, self.extensions.master)
        views = plan.views(grads)
        if views is None:
            return False
        norm = self._norm_over_shards(params, grads)
        self._advance(plan, numbers, views, norm)
        if not self.last_step.skipped:
            increment_version(params)
            if memory is not params:
                increment_version(memory)
        return True

    def _norm_over_shards(
        self, params: list[torch.Tensor], grads: list[torch.Tensor]
    ) -> tuple[float, bool] | None:
        """Return the norm, and whether all is finite, where the extension sees a part alone."""
        if self.extensions.max_norm is None and not self.extensions.skip_nonfinite:
            return None
        every = [p for group in self.param_groups for p in group["params"]]
        return norm_over_shards(every, params, grads) if any_sharded(every) else None

    def _advance(
        self,
        plan: Plan,
        numbers: _core.UpdateGroups,
        views: list[Any],
        norm: tuple[float, bool] | None,
    ) -> None:
        own = self.extensions
        plan.read_counts()
        scale = getattr(self, "grad_scale", None)
        self.last_step = StepResult(
            *plan.native.step(
                views,
                numbers,
                own.max_norm,
                own.skip_nonfinite,
                1.0 if scale is None else float(scale),
                False,
                own.seed if own.stochastic_rounding else None,
                self._steps_done,
                norm,
            )
        )
        if self.last_step.skipped:
            return
        self._steps_done += 1
        plan.count()
        if plan is not self._plan:
            plan.keep()
            self._plan = plan

    def _torch_step(self) -> None:
        self._plan = None
        decoupled = self._rule is SGD and any(g.get("decoupled") for g in self.param_groups)
        if decoupled or self.extensions != Extensions():
            raise RuntimeError(
                "step: decoupled, max_norm, skip_nonfinite, master and stochastic_rounding need "
                "dense CPU tensors of a float dtype, and no differentiable or capturable"
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

        def keep(_: Any, handed: dict[str, Any]) -> None:
            self._handed = handed

        last = self.register_load_state_dict_pre_hook(keep)
        try:
            super().load_state_dict(state_dict)
        finally:
            last.remove()
            self._handed = None

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take a state, and that of half precision as it was before PyTorch rounded it."""
        super().__setstate__(state)
        self._plan = None
        if self._handed is None:
            return
        given = self._handed["state"]
        for group, old in zip(self.param_groups, self._handed["param_groups"], strict=True):
            for p, key in zip(group["params"], old["params"], strict=True):
                for name, value in given.get(key, {}).items():
                    if isinstance(value, torch.Tensor):
                        wide = p.dtype in HALVES and name != "step"
                        loaded = value.to(p.device, torch.float32) if wide else self.state[p][name]
                        self.state[p][name] = loaded.detach().clone()  # it may share the memory

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the plan, which holds addresses."""
        base: Any = super()
        state = copy(base.__getstate__())
        own = ("extensions", "last_step", "_steps_done")
        return {**state, **{name: getattr(self, name) for name in own}}


def _hooked(step: Any) -> bool:
    return bool(getattr(step, "hooked", False))
