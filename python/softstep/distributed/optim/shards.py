"""A step of a sharded optimizer: sum the gradients, update a part, gather the parameters."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from softstep._typing import FloatArray
from softstep.distributed.engines.agreement import Agreement
from softstep.distributed.engines.communicator import Communicator
from softstep.distributed.optim.clipping import clip, norm_of
from softstep.distributed.optim.flat import Flat
from softstep.distributed.optim.gradients import Gradients
from softstep.distributed.optim.pieces import Owned, Pieces
from softstep.distributed.optim.whole import identity, norm_limit, without_state
from softstep.optim import state as saved
from softstep.optim.optimizer import Group, Optimizer, Params, StepResult
from softstep.optim.options import above_zero

_OF_THE_PIECES = ("master", "state_dtype", "stochastic_rounding", "bfloat16_bits")


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
        self._comm, self._average, self._master = comm, average, bool(options.get("master"))
        error, same = None, None
        try:
            self.whole = without_state(optimizer_class, params, options)
            same = optimizer_class.__name__, average, self._master, *identity(self.whole)
        except (TypeError, ValueError) as refused:
            error = refused
        Agreement(comm, same, error).settle("parameters or options")
        rows = {param.dtype: dict[int, FloatArray]() for param in self.whole.params}
        for k, param in enumerate(self.whole.params):
            rows[param.dtype][k] = param
        self._gradients = [Gradients(Flat(row, comm, self.whole._bits)) for row in rows.values()]
        views = {k: view for item in self._gradients for k, view in item.views.items()}
        self.grads = [views[k] for k in range(len(views))]
        owned = [Owned(*each) for item in self._gradients for each in item.pieces()]
        own_options = {name: options[name] for name in _OF_THE_PIECES if name in options}
        self._pieces = Pieces(self.whole, owned, own_options, comm.rank)

    def step(
        self,
        grads: Sequence[FloatArray | None],
        lr: float | None,
        grad_scale: float,
        zero_grads: bool,
    ) -> StepResult:
        """Do what `ShardedOptimizer.step` says."""
        whole, error, same = self.whole, None, None
        given: dict[int, FloatArray] = {}
        try:
            natives = whole._options(whole.param_groups, whole.steps, lr)
            limit = norm_limit(whole.max_norm)
            divisor = above_zero("grad_scale", grad_scale)
            given = self._given(grads, zero_grads)
            same = list(given), natives, limit, whole.skip_nonfinite, divisor, whole.steps
        except Exception as refused:  # also what a schedule raises
            error = refused
        agreement = Agreement(self._comm, same, error)
        busy = [item for item in self._gradients if given.keys() & item.flat.params.keys()]
        for item in busy:
            item.fill(given)
        agreement.settle("options, or which gradients are None,")
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
        self._pieces.step(natives, given, divisor)
        for item in busy:
            item.flat.gather(item.buffer)
        self._count(given)
        if zero_grads:
            for grad in given.values():
                grad[...] = 0
        return StepResult(norm, False)

    def state_dict(self) -> dict[str, Any]:
        """Return the whole state, gathered from all ranks."""
        whole = self.whole
        state = {"step": whole.steps, "seed": whole._seed, **saved.flat_groups(whole.param_groups)}
        for name in (*whole._STATES, "master"):
            for item in self._gradients:
                dtype = self._state_dtype(item.flat, name)
                kept = [k for k in item.flat.params if name == "master" or whole._counts[k]]
                if dtype is None or not kept:
                    continue
                row = np.empty(item.flat.total, dtype)
                part = self._pieces.part_of(item.flat, name, dtype)
                self._comm.all_gather(part, item.flat.counts, row)
                arrays = item.flat.cut(row)
                for k in kept:
                    state[f"state.{k}.{name}"] = arrays[k]
                    if whole._STEPPED:
                        state[f"state.{k}.step"] = int(whole._counts[k])
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take this rank's part of a whole state."""
        whole = self.whole
        flat = saved.flattened(state)
        groups = saved.loaded_groups(whole.param_groups, flat)
        steps = saved.steps_of({"step": whole.steps, **flat}, "step")
        seed = int(flat.get("seed", whole._seed)) % 2**64
        whole._options(groups)
        counts = saved.loaded_counts(whole._STATES, whole._STEPPED, flat, len(whole.params))
        arrays = saved.loaded_arrays(self._slots(), flat)
        for group, loaded in zip(whole.param_groups, groups, strict=True):
            group.update(loaded)
        whole._counts[:] = counts
        whole.steps, whole._seed = steps, seed
        self._pieces.load(arrays)

    def _given(self, grads: Sequence[FloatArray | None], written: bool) -> dict[int, FloatArray]:
        """Check the gradients, and return those that are not None."""
        params = self.whole.params
        if len(grads) != len(params):
            raise ValueError(
                f"grads: expected {len(params)} arrays, one for each parameter, got {len(grads)}"
            )
        given = {
            k: grad if written else np.asarray(grad)
            for k, grad in enumerate(grads)
            if grad is not None
        }
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

    def _count(self, given: Mapping[int, FloatArray]) -> None:
        self.whole.steps += 1
        k = 0
        for group in self.whole.param_groups:
            counted = self.whole._needs_state([group])
            for _ in group["params"]:
                self.whole._counts[k] += counted and k in given
                k += 1

    def _state_dtype(self, flat: Flat, name: str) -> Any:
        """Return the dtype of a state, None for a master copy that there is not."""
        if name == "master":
            return np.float32 if self._master and flat.dtype.itemsize == 2 else None
        half = self.whole._half_state and name == self.whole._STATES[0]
        return saved.state_of(np.empty(0, flat.dtype), half).dtype

    def _slots(self) -> dict[str, FloatArray]:
        """Return what the arrays of a state have to be, without memory."""
        return {
            f"state.{k}.{name}": np.broadcast_to(np.zeros((), dtype), param.shape)
            for name in (*self.whole._STATES, "master")
            for item in self._gradients
            for dtype in [self._state_dtype(item.flat, name)]
            if dtype is not None
            for k, param in item.flat.params.items()
        }
