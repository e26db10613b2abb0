"""An optimizer whose state is divided among ranks that train on different data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from softstep._typing import FloatArray
from softstep.distributed.engines.communicator import Communicator
from softstep.distributed.engines.launch import communicator
from softstep.distributed.optim.flat import in_layout
from softstep.distributed.optim.shards import Shards
from softstep.optim.ledger import Group, Params
from softstep.optim.optimizer import Optimizer, StepResult
from softstep.optim.options import Schedule


class ShardedOptimizer:
    """`SGD` or `AdamW` on ranks with the same parameters, each of which keeps a part of the state.

    A step sums the gradients of all ranks, each rank updates its part of the parameters with the
    fused step, and all get the result: what one process does with the sum of the gradients, but for
    roundings. The parameters of each dtype are one row of elements, cut evenly; a cut may go
    through a parameter.

    Parameters
    ----------
    params : sequence of ndarray, or of dict
        As in `SGD`, the same on every rank, without gaps between the elements of an array.
    optimizer_class : type
        `SGD` or `AdamW`.
    lr : float or callable
        The rate: a number or a schedule.
    comm : Communicator, optional
        ``communicator()`` if it is not given.
    average : bool
        Divide the sum of the gradients by the number of ranks: for losses that are means over each
        rank's own batch, all of one size.
    **options
        Those of the optimizer. `max_norm` and `skip_nonfinite` are about the sum of the gradients,
        and all parameters.

    Attributes
    ----------
    params, param_groups, lr, max_norm, skip_nonfinite, steps
        As in `SGD`.
    grads : list of ndarray
        Arrays for the gradients, which a step need not copy. Undefined after a step.

    Raises
    ------
    TypeError, ValueError
        As in `SGD`; on every rank if one of them refuses its arguments, or if parameters or options
        differ between ranks.
    TimeoutError, ConnectionError
        If another rank is late or gone.

    Notes
    -----
    With n parameters of b bytes on r ranks, each has 1/r of the state and of the master copies, and
    a buffer of n b bytes (4 n for half precision, whose gradients are summed in float32 and rounded
    once). `grads` lies in this buffer for float32 and float64. Parameters that follow each other in
    one array are gathered where they are, others through the buffer.

    The ranks agree on a step by an all-reduce of 24 bytes; it has a reduce-scatter of n b bytes
    (4 n) and an all-gather of n b bytes for each dtype; `max_norm` and `skip_nonfinite` take an
    all-reduce of 8 bytes. One rank alone sends and copies nothing.

    Stochastic rounding differs with the number of ranks: the element's place in the part of its
    rank decides.

    References
    ----------
    S. Rajbhandari, J. Rasley, O. Ruwase and Y. He, "ZeRO: memory optimizations toward training
    trillion parameter models", 2020; its first stage.

    Examples
    --------
    >>> import numpy as np, softstep as ss
    >>> from softstep.distributed import ShardedOptimizer
    >>> w = np.array([1.0, 2.0])
    >>> adamw = ShardedOptimizer([w], ss.AdamW, 0.1, weight_decay=0.0)
    >>> adamw.step([np.array([4.0, -0.5])])
    StepResult(norm=None, skipped=False)
    >>> w.round(6)
    array([0.9, 2.1])
    """

    def __init__(
        self,
        params: Params,
        optimizer_class: type[Optimizer],
        lr: float | Schedule,
        *,
        comm: Communicator | None = None,
        average: bool = False,
        **options: Any,
    ) -> None:
        if not (isinstance(optimizer_class, type) and issubclass(optimizer_class, Optimizer)):
            raise TypeError(f"optimizer_class: expected SGD or AdamW, got {optimizer_class!r}")
        comm = communicator() if comm is None else comm
        self._shards: Shards | None = None
        if comm.size > 1:
            self._shards = Shards(optimizer_class, params, {"lr": lr, **options}, comm, average)
            self._whole = self._shards.whole
            self.grads = self._shards.grads
        else:
            self._whole = optimizer_class(params, lr=lr, **options)  # type: ignore[call-arg]
            rows = [np.zeros(param.size, param.dtype) for param in self._whole.params]
            self.grads = [in_layout(row, p) for row, p in zip(rows, self.params, strict=True)]

    def __getstate__(self) -> NoReturn:
        """Refuse to be copied or pickled."""
        raise TypeError(
            "ShardedOptimizer: cannot be copied or pickled, for its communicator belongs to this "
            "process; make another one, and load_state_dict(state_dict()), on every rank"
        )

    @property
    def params(self) -> list[FloatArray]:
        """The arrays that were given, those of all groups in a row."""
        return self._whole.params

    @property
    def param_groups(self) -> list[Group]:
        """Each group's "params" and options; change options between steps, on every rank."""
        return self._whole.param_groups

    @property
    def steps(self) -> int:
        """Steps done."""
        return self._whole.steps

    @property
    def lr(self) -> float | Schedule:
        """The rate of the first group; setting it sets that of every group."""
        return self._whole.lr

    @lr.setter
    def lr(self, rate: float | Schedule) -> None:
        self._whole.lr = rate

    @property
    def max_norm(self) -> float | None:
        """What the 2-norm of all gradients together is clipped to."""
        return self._whole.max_norm

    @max_norm.setter
    def max_norm(self, limit: float | None) -> None:
        self._whole.max_norm = limit

    @property
    def skip_nonfinite(self) -> bool:
        """Whether a step with an infinity or a NaN in a gradient of any rank is skipped by all."""
        return self._whole.skip_nonfinite

    @skip_nonfinite.setter
    def skip_nonfinite(self, skip: bool) -> None:
        self._whole.skip_nonfinite = skip

    def step(
        self,
        grads: Sequence[FloatArray | None] | None = None,
        *,
        lr: float | None = None,
        grad_scale: float = 1.0,
        zero_grads: bool = False,
    ) -> StepResult:
        """Update every parameter once on all ranks, or, if anything does not fit, none of them.

        Parameters
        ----------
        grads : sequence of ndarray or None, optional
            This rank's gradients, as in `SGD.step`; the attribute `grads` if they are not given.
            Every rank has to have None for the same parameters.
        lr, grad_scale, zero_grads
            As in `SGD.step`.

        Returns
        -------
        StepResult
            The norm of the summed gradients, if it was computed, and whether the step was skipped.

        Raises
        ------
        TypeError, ValueError
            On every rank, if gradients or numbers of one do not fit, or do not match the others'.
            Nothing has changed then.
        TimeoutError, ConnectionError
            If another rank is late or gone.
        """
        given = self.grads if grads is None else grads
        if self._shards is None:
            return self._whole.step(given, lr=lr, grad_scale=grad_scale, zero_grads=zero_grads)
        return self._shards.step(given, lr, grad_scale, zero_grads)

    def state_dict(self) -> dict[str, Any]:
        """Return the whole state on every rank, which all have to call.

        It is that of the optimizer on one process: the same names, arrays of the parameters'
        shapes. So either kind goes on from it, on any number of ranks.
        """
        return self._whole.state_dict() if self._shards is None else self._shards.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a whole state, which every rank has to give; sends nothing.

        Raises
        ------
        KeyError, TypeError, ValueError
            For a state that belongs to other parameters. Nothing has changed then.
        """
        (self._whole if self._shards is None else self._shards).load_state_dict(state)
