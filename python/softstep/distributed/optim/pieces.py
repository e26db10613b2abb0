"""The optimizer of the pieces that a rank owns, under the options of the whole."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from softstep._typing import FloatArray
from softstep.distributed.optim.flat import Flat, Piece, in_row, layout_of
from softstep.optim.optimizer import Group, Optimizer
from softstep.optim.options import Native


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
    whole : Optimizer
        Whose groups and options hold.
    owned : sequence of Owned
    options : dict
        Those that no group has.
    rank : int
        For a seed of its own: equal places in the parts of two ranks are not rounded alike.
    """

    def __init__(self, whole: Optimizer, owned: Sequence[Owned], options: Group, rank: int) -> None:
        self._whole, self._rank = whole, rank
        group_of = [i for i, group in enumerate(whole.param_groups) for _ in group["params"]]
        keys = [(i, param.ndim) for i, param in zip(group_of, whole.params, strict=True)]
        self._keys = sorted(set(keys))
        self.owned = sorted(owned, key=lambda item: keys[item.piece.param])
        groups: list[Group] = [{"params": []} for _ in self._keys]
        for item in self.owned:
            param = in_row(whole.params[item.piece.param])[item.piece.begin : item.piece.end]
            groups[self._keys.index(keys[item.piece.param])]["params"].append(param)
        make: Any = type(whole)
        self.optimizer: Optimizer = make(groups, lr=0.0, seed=self._seed(), **options)
        self._take_options()

    def step(self, natives: Sequence[Native], active: Mapping[int, Any], scale: float) -> None:
        """Update the pieces whose parameter is active; `natives` has the numbers of the step."""
        self._take_options(natives)
        grads = [item.grad if item.piece.param in active else None for item in self.owned]
        self.optimizer.step(grads, grad_scale=scale)

    def part_of(self, flat: Flat, name: str, dtype: Any) -> FloatArray:
        """Return this rank's part of a state; 0 where there is none."""
        part = np.zeros(flat.own.stop - flat.own.start, dtype)
        slots = dict(self.optimizer._slots())
        for j, item in enumerate(self.owned):
            if item.flat is flat and f"state.{j}.{name}" in slots:
                part[flat.within(item.piece)] = slots[f"state.{j}.{name}"]
        return part

    def load(self, arrays: Mapping[str, FloatArray]) -> None:
        """Take the parts of states of the whole, which has taken its options and counts."""
        whole = self._whole
        state: dict[str, Any] = {"step": whole.steps, "seed": self._seed()}
        for j, (piece, _, _) in enumerate(self.owned):
            axes = layout_of(whole.params[piece.param])
            for name in (*whole._STATES, "master"):
                if f"state.{piece.param}.{name}" in arrays:
                    row = arrays[f"state.{piece.param}.{name}"].transpose(axes).reshape(-1)
                    state[f"state.{j}.{name}"] = row[piece.begin : piece.end]
            state[f"state.{j}.step"] = int(whole._counts[piece.param])
        self._take_options()
        self.optimizer.load_state_dict(state)

    def _take_options(self, natives: Sequence[Native] | None = None) -> None:
        for (i, ndim), group in zip(self._keys, self.optimizer.param_groups, strict=False):
            options = {**self._whole.param_groups[i], "params": group["params"]}
            if natives is not None:
                options["lr"], options["weight_decay"] = natives[i][:2]
            if ndim < options["min_decay_ndim"]:
                options["weight_decay"] = 0.0
            group.update(options, min_decay_ndim=0)

    def _seed(self) -> int:
        return (self._whole._seed + 0x9E3779B97F4A7C15 * self._rank) % 2**64
