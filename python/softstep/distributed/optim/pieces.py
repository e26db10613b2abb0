"""The optimizer of the pieces that a rank owns, under the options of the whole."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

import softstep._core as _core
from softstep._typing import FloatArray
from softstep.distributed.optim.flat import Flat, Piece, in_row, layout_of
from softstep.optim.ledger import Group, Ledger
from softstep.optim.optimizer import Optimizer
from softstep.optim.state import path


class Owned(NamedTuple):
    """A piece, the row that it is from, and where its summed gradient is."""

    piece: Piece
    flat: Flat
    grad: FloatArray


class Pieces:
    """An optimizer of 1-D views into the parameters.

    Its groups are those of the whole, divided by the number of dimensions of the parameters, which
    decides whether they are decayed.

    Parameters
    ----------
    kind : type
        Of the optimizer.
    whole : Ledger
        Whose groups and options hold.
    owned : sequence of Owned
    rank : int
        For a seed of its own: equal places in the parts of two ranks are not rounded alike.
    """

    def __init__(self, kind: Any, whole: Ledger, owned: Sequence[Owned], rank: int) -> None:
        self._whole, self._rank = whole, rank
        keys = [(i, param.ndim) for i, param in zip(whole.group_of, whole.params, strict=True)]
        self._keys = sorted(set(keys))
        self.owned = sorted(owned, key=lambda item: keys[item.piece.param])
        groups: list[Group] = [{"params": []} for _ in self._keys]
        for item in self.owned:
            param = in_row(whole.params[item.piece.param])[item.piece.begin : item.piece.end]
            groups[self._keys.index(keys[item.piece.param])]["params"].append(param)
        precision = whole.precision._asdict()
        self.optimizer: Optimizer = kind(groups, lr=0.0, seed=self._seed(), **precision)
        self._take_options()

    def step(self, numbers: _core.UpdateGroups, active: Mapping[int, Any], scale: float) -> None:
        """Update the pieces whose parameter is active, with the numbers of the step."""
        self._take_options(numbers)
        grads = [item.grad if item.piece.param in active else None for item in self.owned]
        self.optimizer.step(grads, grad_scale=scale)

    def part_of(self, flat: Flat, name: str, dtype: Any) -> FloatArray:
        """Return this rank's part of a state; 0 where there is none."""
        part = np.zeros(flat.own.stop - flat.own.start, dtype)
        slots = self.optimizer.slots()
        for j, item in enumerate(self.owned):
            if item.flat is flat and (j, name) in slots:
                part[flat.within(item.piece)] = slots[j, name]
        return part

    def load(self, arrays: Mapping[tuple[int, str], FloatArray]) -> None:
        """Take the parts of states of the whole, which has taken its options and counts."""
        whole = self._whole
        state: dict[str, Any] = {"step": whole.steps, "seed": self._seed()}
        for j, (piece, _, _) in enumerate(self.owned):
            axes = layout_of(whole.params[piece.param])
            for name in (*whole.rule.states, "master"):
                if (piece.param, name) in arrays:
                    row = arrays[piece.param, name].transpose(axes).reshape(-1)
                    state[path(j, name)] = row[piece.begin : piece.end]
            state[path(j, "step")] = int(whole.counts[piece.param])
        self._take_options()
        self.optimizer.load_state_dict(state)

    def _take_options(self, numbers: _core.UpdateGroups | None = None) -> None:
        for (i, ndim), group in zip(self._keys, self.optimizer.param_groups, strict=False):
            options = {**self._whole.groups[i], "params": group["params"]}
            if numbers is not None:
                options.update(lr=numbers.lr[i], weight_decay=numbers.weight_decay[i])
            if ndim < options["min_decay_ndim"]:
                options["weight_decay"] = 0.0
            group.update(options, min_decay_ndim=0)

    def _seed(self) -> int:
        return (self._whole.seed + 0x9E3779B97F4A7C15 * self._rank) % 2**64
