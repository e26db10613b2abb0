"""A step of a sharded optimizer: sum the gradients, update a part, gather the parameters."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import softstep._core as _core
from softstep._typing import FloatArray
from softstep.distributed.engines.agreement import Agreement, checksum
from softstep.distributed.engines.communicator import Communicator
from softstep.distributed.optim.clipping import clip, norm_of
from softstep.distributed.optim.flat import Flat
from softstep.distributed.optim.gradients import Gradients
from softstep.distributed.optim.pieces import Owned, Pieces
from softstep.distributed.optim.whole import checked, identity
from softstep.optim.ledger import Group, Params
from softstep.optim.optimizer import Optimizer, StepResult
from softstep.optim.options import norm_limit
from softstep.optim.state import path


class Shards:
    """What `ShardedOptimizer` is on more than one rank.

    Attributes
    ----------
    whole : Optimizer
        The groups, the options and the counts of an optimizer on one process, without its state.
    grads : list of ndarray
        Arrays for the caller's gradients.
    """

    def __init__(
        self,
        optimizer_class: type[Optimizer],
        params: Params,
        options: Group,
        comm: Communicator,
        average: bool,
    ) -> None:
        self._comm, self._average = comm, average
        refused, same = None, 0
        try:
            self.whole = checked(optimizer_class, params, options)
            same = checksum((average, identity(self.whole)))
        except (TypeError, ValueError) as error:
            refused = error
        what = "parameters or options"
        Agreement(comm, refused, same).settle(what, f"{what} differ between ranks")
        ledger = self.whole.ledger
        rows = {param.dtype: dict[int, FloatArray]() for param in ledger.params}
        for k, param in enumerate(ledger.params):
            rows[param.dtype][k] = param
        flats = [Flat(row, comm, ledger.precision) for row in rows.values()]
        self._gradients = [Gradients(flat) for flat in flats]
        views = {k: view for item in self._gradients for k, view in item.views.items()}
        self.grads = [views[k] for k in range(len(views))]
        self._layouts = [(p.shape, p.strides, p.dtype) for p in ledger.params]
        owned = [Owned(*each) for item in self._gradients for each in item.pieces()]
        self._pieces = Pieces(optimizer_class, ledger, owned, comm.rank)

    def step(
        self,
        grads: Sequence[FloatArray | None],
        lr: float | None,
        grad_scale: float,
        zero_grads: bool,
    ) -> StepResult:
        """Do what `ShardedOptimizer.step` says."""
        whole, refused, same = self.whole, None, 0
        given: dict[int, FloatArray] = {}
        try:
            numbers = whole.ledger.numbers(whole.steps, lr)
            limit = norm_limit(whole.max_norm)
            divisor = _core.above_zero(grad_scale, "grad_scale")
            given = self._given(grads, zero_grads)
            meaning = list(given), numbers, limit, whole.skip_nonfinite, divisor, whole.steps
            same = checksum(meaning)
        except Exception as error:  # also what a schedule raises
            refused = error
        agreement = Agreement(self._comm, refused, same)
        busy = [item for item in self._gradients if given.keys() & item.flat.params.keys()]
        for item in busy:
            item.fill(given)
        what = "options, or which gradients are None,"
        agreement.settle(what, f"{what} differ between ranks")
        if self._average:
            divisor *= self._comm.size
        for item in busy:
            item.reduce(self._comm)
        norm = None
        if limit is not None or whole.skip_nonfinite:
            raw, finite = norm_of(busy, given, self._comm)
            norm = raw / divisor
            if whole.skip_nonfinite and not finite:
                return StepResult(norm, True)
            divisor = clip(busy, norm, limit, divisor)
        self._pieces.step(numbers, given, divisor)
        for item in busy:
            item.flat.gather(item.buffer)
        whole.ledger.count(numbers, given)
        if zero_grads:
            for grad in given.values():
                grad[...] = 0
        return StepResult(norm, False)

    def state_dict(self) -> dict[str, Any]:
        """Return the whole state, gathered from all ranks."""
        ledger = self.whole.ledger
        state = ledger.head()
        for place, name in enumerate((*ledger.rule.states, "master")):
            for item in self._gradients:
                dtype = self._state_dtype(item.flat, place)
                kept = [k for k in item.flat.params if name == "master" or ledger.has(k, place)]
                if dtype is None or not kept:
                    continue
                row = np.empty(item.flat.total, dtype)
                part = self._pieces.part_of(item.flat, name, dtype)
                self._comm.all_gather(part, item.flat.counts, row)
                arrays = item.flat.cut(row)
                for k in kept:
                    state[path(k, name)] = arrays[k]
                    if ledger.rule.stepped:
                        state[path(k, "step")] = int(ledger.counts[k])
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take this rank's part of a whole state."""
        loaded = self.whole.ledger.loaded(state)
        self.whole.ledger.take(loaded)
        self._pieces.load(loaded.arrays)

    def _given(self, grads: Sequence[FloatArray | None], written: bool) -> dict[int, FloatArray]:
        """Check the gradients, and return those that are not None."""
        params = self.whole.params
        if len(grads) != len(params):
            raise ValueError(
                f"grads: expected {len(params)} arrays, one for each parameter, got {len(grads)}"
            )
        for k, grad in enumerate(grads):
            if isinstance(grad, np.ma.MaskedArray):
                raise TypeError(f"grads[{k}]: expected an array without a mask, got a masked array")
        given = {
            k: grad if written else np.asarray(grad)
            for k, grad in enumerate(grads)
            if grad is not None
        }
        for k, p in enumerate(params):
            if (p.shape, p.strides, p.dtype) != self._layouts[k]:
                raise ValueError(
                    f"params[{k}]: has another shape or dtype than when the optimizer was made"
                )
        for k, grad in given.items():
            if not isinstance(grad, np.ndarray):
                raise TypeError(f"grads[{k}]: expected a NumPy array, got {type(grad).__name__}")
            if grad.dtype != params[k].dtype:
                raise TypeError(f"grads[{k}]: expected {params[k].dtype}, got {grad.dtype}")
            if grad.shape != params[k].shape:
                raise ValueError(f"grads[{k}]: expected shape {params[k].shape}, got {grad.shape}")
            for name, array, needed in (("params", params[k], True), ("grads", grad, written)):
                if needed and not array.flags.writeable:
                    raise ValueError(
                        f"{name}[{k}]: expected a writeable array, got a read-only one"
                    )
        return given

    def _state_dtype(self, flat: Flat, place: int) -> Any:
        """Return the dtype of a state, None for a master copy that there is not."""
        ledger = self.whole.ledger
        first = next(iter(flat.params.values()))
        if place == len(ledger.rule.states):
            return np.float32 if ledger.precision.has_master(first) else None
        return ledger.precision.of_state(first, place)
