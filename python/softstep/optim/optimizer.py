"""What every optimizer has: groups of parameters, the native step, the state."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, TypeAlias

import numpy as np

import softstep._core as _core
from softstep._typing import FloatArray
from softstep.optim import state as saved
from softstep.optim.options import Native, Schedule, above_zero, at_step, shared_numbers

Group: TypeAlias = dict[str, Any]
Params: TypeAlias = Sequence[FloatArray] | Sequence[Mapping[str, Any]]


class StepResult(NamedTuple):
    """What a step tells.

    Attributes
    ----------
    norm : float or None
        The 2-norm of all unscaled gradients before clipping, where `max_norm` or `skip_nonfinite`
        asks for it.
    skipped : bool
        Whether nothing was changed, for a gradient was not finite.

    Examples
    --------
    >>> import numpy as np, softstep as ss
    >>> w = np.zeros(2)
    >>> ss.SGD([w], 1.0, skip_nonfinite=True).step([np.array([1.0, np.inf])])
    StepResult(norm=inf, skipped=True)
    >>> w
    array([0., 0.])
    """

    norm: float | None
    skipped: bool


class Optimizer(ABC):
    """The base of `SGD` and `AdamW`."""

    _RULE: ClassVar[str]
    _STATES: ClassVar[tuple[str, ...]]  # their names in PyTorch
    _STEPPED: ClassVar[bool]  # each parameter counts its steps

    def __init__(
        self,
        params: Params,
        defaults: Group,
        *,
        max_norm: float | None,
        skip_nonfinite: bool,
        state_dtype: str | None,
        master: bool,
        stochastic_rounding: bool,
        seed: int,
        bfloat16_bits: bool,
    ) -> None:
        self.param_groups = _groups(params, defaults)
        self.params = [p for group in self.param_groups for p in group["params"]]
        self.steps = 0
        self.skip_nonfinite = bool(skip_nonfinite)
        self.max_norm = max_norm
        if master and stochastic_rounding:
            raise ValueError("master: its parameters are rounded to nearest, not stochastically")
        if state_dtype not in (None, "bfloat16"):
            raise ValueError(f"state_dtype: expected None or 'bfloat16', got {state_dtype!r}")
        self._seed = int(seed) % 2**64
        self._stochastic = bool(stochastic_rounding)
        self._bits = bool(bfloat16_bits)
        self._half_state = state_dtype is not None
        self._states: list[list[FloatArray]] = []
        self._masters: list[FloatArray | None] = []
        self._counts = np.zeros(len(self.params), np.int64)
        self._plan = self._planned("sgd")  # for its checks: states need parameters that fit
        if master:
            self._masters = [saved.master_of(p, self._bits) for p in self.params]
        self._options(self.param_groups)
        _norm_limit(max_norm)
        if master or self._needs_state(self.param_groups):
            self._allocate()

    @property
    def lr(self) -> float | Schedule:
        """The rate of the first group; setting it sets that of every group."""
        rate: float | Schedule = self.param_groups[0]["lr"]
        return rate

    @lr.setter
    def lr(self, rate: float | Schedule) -> None:
        for group in self.param_groups:
            group["lr"] = rate

    def step(
        self,
        grads: Sequence[FloatArray | None],
        *,
        lr: float | None = None,
        grad_scale: float = 1.0,
        zero_grads: bool = False,
    ) -> StepResult:
        """Update every parameter once, or, if anything does not fit, none of them.

        Parameters
        ----------
        grads : sequence of ndarray or None
            One gradient for each parameter in the order of `params`, of its shape and dtype. None
            leaves the parameter, and its state, alone.
        lr : float, optional
            The rate of this step instead of that of every group.
        grad_scale : float
            What the gradients are divided by before they are used.
        zero_grads : bool
            Set the gradients to 0 after they are used; otherwise they are only read.

        Returns
        -------
        StepResult
            The norm of the gradients, if it was computed, and whether the step was skipped.

        Raises
        ------
        TypeError, ValueError
            For gradients or numbers that do not fit. Nothing has changed then.
        """
        options = self._options(self.param_groups, self.steps, lr)
        if not self._states and self._needs_state(self.param_groups):
            self._allocate()
        norm, skipped = self._plan.step(
            list(grads),
            options,
            _norm_limit(self.max_norm),
            self.skip_nonfinite,
            above_zero("grad_scale", grad_scale),
            zero_grads,
            self._seed if self._stochastic else None,
            self.steps,
        )
        if not skipped:
            self.steps += 1
        return StepResult(norm, skipped)

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to go on from here, as a flat dict.

        Numbers and arrays only, all copies, so that ``np.savez(file, **optimizer.state_dict())``
        stores it. The names are the paths in the nested dict of PyTorch's optimizer, joined by
        dots: "param_groups.0.lr" (if it is a number; a schedule is the caller's),
        "param_groups.0.params" (the places of its parameters), and, for parameters that had
        a gradient, "state.0.momentum_buffer" and so on. bfloat16 is stored as its bits in uint16.
        Beyond PyTorch's there are "step", the steps done, "seed", and "state.0.master".
        """
        state = {"step": self.steps, "seed": self._seed, **saved.flat_groups(self.param_groups)}
        for key, array in self._slots():
            k = int(key.split(".")[1])
            if self._counts[k] or key.endswith(".master"):
                state[key] = array.copy()
                if self._STEPPED:
                    state[f"state.{k}.step"] = int(self._counts[k])
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned, here or in another process; copies the arrays.

        PyTorch's own nested dict will do as well. Options that it lacks keep their values, and
        those that softstep does not have are left out.

        Raises
        ------
        KeyError, TypeError, ValueError
            For a state that belongs to other parameters. Nothing has changed then.
        """
        flat = saved.flattened(state)
        groups = saved.loaded_groups(self.param_groups, flat)
        steps = saved.steps_of({"step": self.steps, **flat}, "step")
        seed = int(flat.get("seed", self._seed)) % 2**64
        self._options(groups)
        counts = saved.loaded_counts(self._STATES, self._STEPPED, flat, len(self.params))
        if not self._states and (any(counts) or self._needs_state(groups)):
            self._allocate()
        slots = dict(self._slots())
        for key, values in saved.loaded_arrays(slots, flat).items():
            np.copyto(slots[key], values)
        for group, loaded in zip(self.param_groups, groups, strict=True):
            group.update(loaded)
        self._counts[:] = counts
        self.steps, self._seed = steps, seed

    @abstractmethod
    def _numbers(self, group: Group) -> Native:
        """Check and return what the rule alone has."""

    @abstractmethod
    def _needs_state(self, groups: Sequence[Group]) -> bool:
        """Whether a step of these groups reads or writes state."""

    def _slots(self) -> Iterator[tuple[str, FloatArray]]:
        """Every state array by its name in `state_dict`."""
        for name, arrays in zip(self._STATES, self._states, strict=False):
            yield from ((f"state.{k}.{name}", array) for k, array in enumerate(arrays))
        for k, master in enumerate(self._masters):
            if master is not None:
                yield f"state.{k}.master", master

    def _allocate(self) -> None:
        self._states = [
            [saved.state_of(p, self._half_state and j == 0) for p in self.params]
            for j in range(len(self._STATES))
        ]
        self._plan = self._planned(self._RULE)

    def _planned(self, rule: str) -> _core.UpdatePlan:
        """Hand over the arrays to the extension, which checks them."""
        groups = [i for i, group in enumerate(self.param_groups) for _ in group["params"]]
        return _core.UpdatePlan(
            rule, self.params, self._states, self._masters, self._counts, groups, self._bits
        )

    def _options(
        self, groups: Sequence[Group], step: int | None = None, lr: float | None = None
    ) -> list[Native]:
        """Check the options of each group, and return them in the extension's order."""
        options = []
        for group in groups:
            rate = at_step("lr", group["lr"] if lr is None else lr, step)
            decay = at_step("weight_decay", group["weight_decay"], step)
            options.append(shared_numbers(group, rate, decay) + self._numbers(group))
        return options


def _norm_limit(max_norm: float | None) -> float | None:
    return None if max_norm is None else above_zero("max_norm", max_norm, infinite=True)


def _groups(params: Params, defaults: Group) -> list[Group]:
    """Return the groups with every option in each; a list of arrays is one group."""
    if isinstance(params, np.ndarray | Mapping):
        raise TypeError("params: expected a list of arrays or of groups, got one of them")
    items = list(params)
    given = items if items and isinstance(items[0], Mapping) else [{"params": items}]
    groups = []
    for i, item in enumerate(given):
        if not isinstance(item, Mapping) or "params" not in item:
            raise TypeError(f'params: group {i}: expected a dict with "params"')
        for option in item:
            if option not in defaults and option != "params":
                raise TypeError(
                    f"params: group {i}: unknown option {option!r}, expected one of "
                    + ", ".join(defaults)
                )
        if isinstance(item["params"], np.ndarray):
            raise TypeError(f"params: group {i}: expected a list of arrays, got an array")
        groups.append({**defaults, **item, "params": list(item["params"])})
    return groups
