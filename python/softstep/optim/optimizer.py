"""What every optimizer has: the native step, and the arrays of the state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any, ClassVar, NamedTuple

import numpy as np

import softstep._core as _core
from softstep._typing import FloatArray
from softstep.optim import state as saved
from softstep.optim.alone import alone, enter
from softstep.optim.ledger import Group, Ledger, Params
from softstep.optim.options import Precision, Schedule, norm_limit
from softstep.optim.rules import Rule


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


_STEPPED = StepResult(None, False)  # of nearly every step: to make it takes longer than to check


class Optimizer:
    """The base of `SGD` and `AdamW`.

    For `softstep.distributed`, which divides the state of one, and not for users:

    ledger : Ledger
        Groups, options and counts. No state is allocated before the first step.
    slots()
        The arrays of the state.
    lock : Lock
        Held by the thread that steps, or reads or writes the state.
    """

    _RULE: ClassVar[Rule]

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
        ways = (
            _core.flag(master, "master"),
            _core.flag(stochastic_rounding, "stochastic_rounding"),
            bool(bfloat16_bits),
        )
        self.ledger = Ledger(self._RULE, params, defaults, Precision(state_dtype, *ways), seed)
        self.skip_nonfinite = _core.flag(skip_nonfinite, "skip_nonfinite")
        self.max_norm = max_norm
        norm_limit(max_norm)
        count = len(self.ledger.params)
        self._states: list[list[FloatArray | None]] = [[None] * count for _ in self._RULE.states]
        self._masters: list[FloatArray | None] = [None] * count
        self._plan: _core.UpdatePlan | None = None
        self.lock = Lock()

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse an option of the groups, which would not be looked at here."""
        ledger = self.__dict__.get("ledger")
        if name not in ("lr", "params") and ledger is not None and name in ledger.groups[0]:
            raise AttributeError(f"{name}: an option of the groups: set param_groups[i][{name!r}]")
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the plan, which holds addresses, and the lock: a copy makes its own."""
        return {k: v for k, v in self.__dict__.items() if k not in ("_plan", "lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make what `__getstate__` left out."""
        self.__dict__.update(state, _plan=None, lock=Lock())

    @property
    def params(self) -> list[FloatArray]:
        """The arrays that were given, those of all groups in a row."""
        return list(self.ledger.params)

    @property
    def param_groups(self) -> list[Group]:
        """Each group's "params" and options."""
        return self.ledger.groups

    @property
    def steps(self) -> int:
        """Steps done."""
        return self.ledger.steps

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
        RuntimeError
            While another thread is in a step of this optimizer, or in its state.
        """
        ledger, lock = self.ledger, self.lock
        enter(lock, "step")
        try:
            # None: states are missing that the options ask for.
            while (
                result := _core.optimizer_step(
                    self._plan,
                    grads,
                    ledger.groups,
                    ledger.kept,
                    ledger.steps,
                    lr,
                    self.max_norm,
                    self.skip_nonfinite,
                    grad_scale,
                    zero_grads,
                    ledger.seed if ledger.precision.stochastic_rounding else None,
                )
            ) is None:
                states = ledger.numbers().states
                self._planned(list(map(max, states, ledger.held)))
                ledger.hold(states)
            norm, skipped = result
            if not skipped:
                ledger.steps += 1
        finally:
            lock.release()
        return _STEPPED if norm is None else StepResult(norm, skipped)

    @alone
    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to go on from here, as a flat dict.

        Numbers and arrays only, all copies, so that ``np.savez(file, **optimizer.state_dict())``
        stores it. The names are the paths in the nested dict of PyTorch's optimizer, joined by
        dots: "param_groups.0.lr" (if it is a number; a schedule is the caller's),
        "param_groups.0.params" (the places of its parameters), and, for parameters that had
        a gradient, "state.0.momentum_buffer" and so on. bfloat16 is stored as its bits in uint16.
        Beyond PyTorch's there are "step", the steps done, "seed", and "state.0.master".
        """
        ledger = self.ledger
        state = ledger.head()
        for (k, name), array in self.slots().items():
            if ledger.counts[k] or name == "master":
                state[saved.path(k, name)] = array.copy()
                if ledger.rule.stepped:
                    state[saved.path(k, "step")] = int(ledger.counts[k])
        return state

    @alone
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned, here or in another process; copies the arrays.

        PyTorch's own nested dict will do as well. Options that it lacks keep their values, and
        those that softstep does not have are left out.

        Raises
        ------
        KeyError, TypeError, ValueError
            For what is no state, and a state of other parameters or of the other rule. Nothing has
            changed then.
        """
        ledger = self.ledger
        loaded = ledger.loaded(state)
        self._planned(list(map(max, loaded.held, ledger.held)))
        slots = self.slots()
        for place, values in loaded.arrays.items():
            np.copyto(slots[place], values)
        ledger.take(loaded)

    def slots(self) -> dict[tuple[int, str], FloatArray]:
        """Return every array of the state by its parameter and its name in `state_dict`."""
        self._copy_masters()
        named = zip((*self._RULE.states, "master"), (*self._states, self._masters), strict=True)
        return {
            (k, name): array
            for name, arrays in named
            for k, array in enumerate(arrays)
            if array is not None
        }

    def _copy_masters(self) -> None:
        precision = self.ledger.precision
        for k, param in enumerate(self.ledger.params):
            if self._masters[k] is None and precision.has_master(param):
                self._masters[k] = saved.master_of(param, precision.is_bfloat16(param))

    def _planned(self, held: Sequence[int]) -> _core.UpdatePlan:
        """Allocate what is missing of each group's states, and hand over all to the extension."""
        ledger = self.ledger
        self._copy_masters()
        for k, (param, i) in enumerate(zip(ledger.params, ledger.group_of, strict=True)):
            for place in range(held[i]):
                if self._states[place][k] is None:
                    dtype = ledger.precision.of_state(param, place)
                    self._states[place][k] = np.zeros_like(param, dtype, subok=False)
        self._plan = _core.UpdatePlan(
            self._RULE.name,
            ledger.params,
            self._states,
            self._masters,
            ledger.counts,
            ledger.group_of,
            ledger.precision.bfloat16_bits,
        )
        return self._plan
