"""Parameters in groups, their options, and what has been counted: all but the arrays of state."""

import warnings
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

import softstep._core as _core
from softstep._integers import integer
from softstep._typing import FloatArray
from softstep.optim import state as saved
from softstep.optim.options import Precision
from softstep.optim.rules import Rule

Group: TypeAlias = dict[str, Any]
Params: TypeAlias = Sequence[FloatArray] | Sequence[Mapping[str, Any]]


class Loaded(NamedTuple):
    """A state that was read from a dict and fits, before anything has changed."""

    groups: list[Group]
    steps: int
    seed: int
    counts: list[int]
    held: list[int]
    arrays: dict[tuple[int, str], Any]  # by parameter and name


class Ledger:
    """What an optimizer on one process, and one of many ranks, knows beside its state.

    Attributes
    ----------
    rule : Rule
    groups : list of dict
        "params" and the options of each.
    kept : list of list of ndarray
        The "params" that each must keep.
    params : list of ndarray
        Those of all groups in a row.
    group_of : list of int
        The group of each parameter.
    held : list of int
        How many states of the rule each group has used.
    counts : ndarray of int64
        The steps that the state of each parameter has seen; 0: it holds nothing yet.
    steps : int
        Steps done.
    seed : int
        Of the stochastic rounding.
    precision : Precision
    """

    def __init__(
        self, rule: Rule, params: Params, defaults: Group, precision: Precision, seed: int
    ) -> None:
        self.rule, self.precision = rule, precision
        self.groups = _groups(params, defaults)
        self.kept = [list(group["params"]) for group in self.groups]
        self.params = [p for group in self.groups for p in group["params"]]
        self.group_of = [i for i, group in enumerate(self.groups) for _ in group["params"]]
        self.counts: NDArray[np.int64] = np.zeros(len(self.params), np.int64)
        self.held = [0] * len(self.groups)
        self.steps, self.seed = 0, integer(seed, "seed") % 2**64
        precision.check()
        _core.check_parameters(self.params, precision.bfloat16_bits)
        states = self.numbers().states
        for param, i in zip(self.params, self.group_of, strict=True):
            if states[i]:
                precision.of_state(param, 0)

    def numbers(self, step: int | None = None, lr: float | None = None) -> _core.UpdateGroups:
        """Check the options of all groups, and return the numbers of a step.

        `lr` stands for the rate of every group; without a step no schedule is called.
        """
        return _core.UpdateGroups(self.rule.name, self.groups, step, lr, self.kept)

    def count(self, numbers: _core.UpdateGroups, active: Container[int]) -> None:
        """Count a step that the extension has not counted, of the parameters that are active."""
        self.steps += 1
        states = numbers.states
        self.hold(states)
        for k, i in enumerate(self.group_of):
            self.counts[k] += states[i] > 0 and k in active

    def has(self, k: int, place: int) -> bool:
        """Whether a parameter has this state of the rule, and it has seen a step."""
        return self.counts[k] > 0 and place < self.held[self.group_of[k]]

    def hold(self, states: Iterable[int]) -> None:
        """Note how many states each group uses."""
        self.held = list(map(max, states, self.held))

    def head(self) -> dict[str, Any]:
        """Return what a state dict has beside arrays."""
        _core.check_params(self.groups, self.kept)
        return {"step": self.steps, "seed": self.seed, **saved.flat_groups(self.groups)}

    def loaded(self, state: Mapping[str, Any]) -> Loaded:
        """Read a state dict, and check that it fits."""
        _core.check_params(self.groups, self.kept)
        flat = saved.flattened(state)
        saved.check_rule(self.rule, flat)
        groups = saved.loaded_groups(self.groups, flat)
        held = _core.UpdateGroups(self.rule.name, groups).states
        counts = saved.loaded_counts(self.rule, flat, [held[i] for i in self.group_of])
        arrays = saved.loaded_arrays(self.rule, self.precision, self.params, flat)
        for k, name in arrays:
            if name in self.rule.states:
                i = self.group_of[k]
                held[i] = max(held[i], self.rule.states.index(name) + 1)
        return Loaded(
            groups,
            saved.steps_of({"step": self._steps_of(counts), **flat}, "step"),
            saved.whole({"seed": self.seed, **flat}, "seed") % 2**64,
            counts,
            held,
            arrays,
        )

    def _steps_of(self, counts: Sequence[int]) -> int:
        """Return the steps where a state does not say: PyTorch's counts them by parameter."""
        return max(counts, default=0) if self.rule.stepped and any(counts) else self.steps

    def take(self, loaded: Loaded) -> None:
        """Go on from a state, whose arrays are somebody else's."""
        for i, (group, options) in enumerate(zip(self.groups, loaded.groups, strict=True)):
            for name in group:
                if callable(group[name]) and not callable(options[name]):
                    warnings.warn(
                        f"load_state_dict: param_groups[{i}][{name!r}] was a schedule and is now "
                        f"{options[name]!r}, the state's; set it again to follow the schedule",
                        stacklevel=4,
                    )
            group.update(options)
        self.hold(loaded.held)
        self.counts[:] = loaded.counts
        self.steps, self.seed = loaded.steps, loaded.seed


def _groups(params: Params, defaults: Group) -> list[Group]:
    """Return the groups with every option in each; a list of arrays is one group."""
    if isinstance(params, np.ndarray | Mapping):
        raise TypeError("params: expected a list of arrays or of groups, got one of them")
    if not isinstance(params, Iterable):
        raise TypeError(
            f"params: expected a list of arrays or of groups, got {type(params).__name__}"
        )
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
