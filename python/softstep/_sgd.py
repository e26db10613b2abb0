"""Stochastic gradient descent with momentum and weight decay."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from softstep import _core
from softstep._sgd_options import SGDOptions
from softstep._typing import FloatArray

Schedule: TypeAlias = Callable[[int], float]

_BUFFER = "momentum_buffer."


class SGD:
    """Stochastic gradient descent on a list of arrays, in place, one memory pass a step.

    With the rate ``a`` of the step, decay ``d``, momentum ``m`` and dampening ``t``, for each
    parameter p with its gradient g, in this order::

        g = -g                     if maximize
        p = (1 - a d) p            if decoupled
        g = g + d p                otherwise
        b = g  the first time, then  b = m b + (1 - t) g      with momentum
        g = g + m b  if nesterov, else  g = b                 with momentum
        p = p - a g

    Parameters
    ----------
    params : sequence of ndarray
        float32 or float64 arrays of any shape and layout, updated in place.
    lr : float or callable
        The rate: a number, or a schedule that is called with the number of steps done so far, 0
        first.
    momentum, dampening : float
        ``m >= 0`` and ``t``.
    weight_decay : float
        ``d >= 0``. A penalty ``lam * ||w||**2`` has the gradient ``2 lam w``: its weight_decay is
        ``2 * lam``, as in PyTorch.
    nesterov : bool
        Needs momentum, and no dampening.
    decoupled : bool
        Decay the parameter, not the gradient, so that momentum does not carry the decay.
    maximize : bool
        Ascend instead of descend; decay shrinks the parameters all the same.

    Attributes
    ----------
    params : list of ndarray
        The arrays that were given.
    lr : float or callable
        May be set between steps.
    steps : int
        Steps done.

    Raises
    ------
    TypeError, ValueError
        For arrays or options that do not fit; for parameters that are read-only or overlap; and,
        here or in a step, for ``lr * weight_decay >= 1``: the decay factor
        ``1 - lr * weight_decay`` must stay in (0, 1).

    Notes
    -----
    The arithmetic is that of the parameter's dtype. Gradients are only read.

    References
    ----------
    The semantics are those of ``torch.optim.SGD`` (PyTorch 2.13); decoupled decay is that of
    I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", 2019, times the rate.

    Examples
    --------
    >>> import numpy as np, softstep as ss
    >>> w = np.array([1.0, 2.0])
    >>> sgd = ss.SGD([w], lambda step: 0.5 / (1 + step), weight_decay=0.2)
    >>> sgd.step([np.array([1.0, -1.0])])
    >>> w
    array([0.4, 2.3])
    >>> sgd.step([np.array([0.0, 0.0])])  # decay alone: times 1 - 0.25 * 0.2
    >>> w
    array([0.38 , 2.185])
    """

    def __init__(
        self,
        params: Sequence[FloatArray],
        lr: float | Schedule,
        *,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        decoupled: bool = False,
        maximize: bool = False,
    ) -> None:
        if isinstance(params, np.ndarray):
            raise TypeError("params: expected a list of arrays, got an array")
        self.params = list(params)
        _core.sgd_check_params(self.params)
        self.lr = lr
        self.steps = 0
        self._buffers: list[FloatArray | None] = [None] * len(self.params)
        self._options = SGDOptions(
            momentum, dampening, weight_decay, nesterov, decoupled, maximize
        ).checked()
        if not callable(lr):
            self._options.checked_rate(lr)

    def step(self, grads: Sequence[FloatArray | None], *, lr: float | None = None) -> None:
        """Update every parameter once, or, if anything does not fit, none of them.

        Parameters
        ----------
        grads : sequence of ndarray or None
            One gradient for each parameter, of its shape and dtype. None leaves the parameter, and
            its momentum, alone.
        lr : float, optional
            The rate of this step instead of the optimizer's.

        Raises
        ------
        TypeError, ValueError
            For gradients or a rate that do not fit. Nothing has changed then.
        """
        if lr is None:
            lr = self.lr(self.steps) if callable(self.lr) else self.lr
        rate = self._options.checked_rate(lr)
        grads, buffers = list(grads), list(self._buffers)
        first = [buffer is None for buffer in buffers]
        if self._options.momentum:
            for k, (p, g) in enumerate(zip(self.params, grads, strict=False)):
                if buffers[k] is None and g is not None:
                    buffers[k] = np.empty_like(p, subok=False)
        _core.sgd_step(self.params, grads, buffers, first, rate, *self._options)
        self._buffers = buffers
        self.steps += 1

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to go on from here, as a flat dict.

        Numbers and arrays only, so that ``np.savez(file, **sgd.state_dict())`` stores it: "step",
        "lr" (if it is a number; a schedule is the caller's), the options by their names, and a copy
        of each "momentum_buffer.i" that exists. The names are PyTorch's.
        """
        state = {"step": self.steps, **self._options._asdict()}
        if not callable(self.lr):
            state["lr"] = float(self.lr)
        for k, buffer in enumerate(self._buffers):
            if buffer is not None:
                state[f"{_BUFFER}{k}"] = buffer.copy()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned, here or in another process; copies the arrays.

        Raises
        ------
        KeyError, TypeError, ValueError
            For a state that lacks an entry or belongs to other parameters. Nothing has changed
            then.
        """
        buffers: list[FloatArray | None] = [None] * len(self.params)
        for key in state:
            if key.startswith(_BUFFER):
                k = self._index_of(key)
                buffers[k] = _copy_like(self.params[k], state[key], key)
        options = SGDOptions(*(state[name] for name in SGDOptions._fields)).checked()
        lr = options.checked_rate(state["lr"]) if "lr" in state else self.lr
        steps = int(state["step"])
        self._options, self._buffers, self.steps, self.lr = options, buffers, steps, lr

    def _index_of(self, key: str) -> int:
        index = key.removeprefix(_BUFFER)
        if not (index.isdecimal() and int(index) < len(self.params)):
            raise ValueError(f"state[{key!r}]: there are {len(self.params)} parameters")
        return int(index)


def _copy_like(param: FloatArray, buffer: FloatArray, key: str) -> FloatArray:
    buffer = np.asarray(buffer)
    if buffer.shape != param.shape or buffer.dtype != param.dtype:
        raise ValueError(
            f"state[{key!r}]: expected {param.dtype} of shape {param.shape}, "
            f"got {buffer.dtype} of shape {buffer.shape}"
        )
    copy = np.empty_like(param, subok=False)
    np.copyto(copy, buffer)
    return copy
