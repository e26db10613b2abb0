"""Stochastic gradient descent with momentum and weight decay."""

from __future__ import annotations

from softstep.optim import rules
from softstep.optim.ledger import Params
from softstep.optim.optimizer import Optimizer
from softstep.optim.options import Schedule


class SGD(Optimizer):
    """Stochastic gradient descent on a list of arrays, in place, one memory pass a step.

    With the rate ``a`` and the decay ``d`` of the step, momentum ``m`` and dampening ``t``, for
    each parameter p with its gradient g, in this order::

        g = g / grad_scale
        g = min(1, max_norm / (norm + 1e-6)) g      with max_norm; norm of all gradients
        g = -g                                      if maximize
        p = (1 - a d) p                             if decoupled
        g = g + d p                                 otherwise
        b = g  the first time, then  b = m b + (1 - t) g      with momentum
        g = g + m b  if nesterov, else  g = b                 with momentum
        p = p - a g

    Parameters
    ----------
    params : sequence of ndarray, or of dict
        Arrays of any shape and layout, updated in place: float32, float64, float16 or (ml_dtypes)
        bfloat16. Or groups of them with options of their own, as in PyTorch:
        ``{"params": [w], "lr": 0.1, "weight_decay": 0}``; every option down to `min_decay_ndim` may
        be given.
    lr : float or callable
        The rate: a number, or a schedule that is called with the number of steps done so far, 0
        first.
    momentum, dampening : float
        ``m >= 0`` and ``t``.
    weight_decay : float or callable
        ``d >= 0``, a number or a schedule. A penalty ``lam * ||w||**2`` has the gradient
        ``2 lam w``: its weight_decay is ``2 * lam``, as in PyTorch.
    nesterov : bool
        Needs momentum, and no dampening.
    decoupled : bool
        Decay the parameter, not the gradient, so that momentum does not carry the decay.
    decay_by_lr : bool
        False: decoupled decay does not follow the rate, ``p = (1 - d) p``.
    maximize : bool
        Ascend instead of descend; decay shrinks the parameters all the same.
    min_decay_ndim : int
        Parameters of fewer dimensions are not decayed: 2 leaves out biases and the scales of
        norms.
    max_norm : float, optional
        Clip the 2-norm of all gradients together. inf: compute the norm and do not clip.
    skip_nonfinite : bool
        Skip a step whose gradients hold an infinity or a NaN: nothing changes, gradients included.
    state_dtype : str, optional
        "bfloat16": the momentum of float32 and half-precision parameters takes half the memory.
        Otherwise it is float32 or float64.
    master : bool
        Update a float32 copy of each half-precision parameter, which itself is the rounded copy.
    stochastic_rounding : bool
        Round half precision up or down by chance, with the exact value as the mean, so that steps
        below its resolution are not lost. `seed`, the step and the place of the element decide,
        not the threads.
    seed : int
        Of the stochastic rounding.
    bfloat16_bits : bool
        Arrays of uint16 hold the bits of bfloat16, for which ml_dtypes is not needed then.

    Attributes
    ----------
    params : list of ndarray
        The arrays that were given, those of all groups in a row.
    param_groups : list of dict
        Each group's "params" and options. Options may be changed between steps.
    lr : float or callable
        That of the first group; to set it sets that of all.
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
    The arithmetic is that of the parameter's dtype, of half precision in float32 with one rounding
    at the end. Gradients are only read, unless `step` is told to set them to 0.

    References
    ----------
    The semantics are those of ``torch.optim.SGD`` and ``clip_grad_norm_`` (PyTorch 2.13); decoupled
    decay is that of I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", 2019.

    Examples
    --------
    >>> import numpy as np, softstep as ss
    >>> w = np.array([1.0, 2.0])
    >>> sgd = ss.SGD([w], lambda step: 0.5 / (1 + step), weight_decay=0.2)
    >>> sgd.step([np.array([1.0, -1.0])])
    StepResult(norm=None, skipped=False)
    >>> w
    array([0.4, 2.3])
    >>> sgd.max_norm = 1.0
    >>> sgd.step([np.array([3.0, -4.0])]).norm
    5.0
    """

    _RULE = rules.SGD

    def __init__(
        self,
        params: Params,
        lr: float | Schedule,
        *,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float | Schedule = 0.0,
        nesterov: bool = False,
        decoupled: bool = False,
        decay_by_lr: bool = True,
        maximize: bool = False,
        min_decay_ndim: int = 0,
        max_norm: float | None = None,
        skip_nonfinite: bool = False,
        state_dtype: str | None = None,
        master: bool = False,
        stochastic_rounding: bool = False,
        seed: int = 0,
        bfloat16_bits: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "decoupled": decoupled,
            "decay_by_lr": decay_by_lr,
            "maximize": maximize,
            "min_decay_ndim": min_decay_ndim,
        }
        super().__init__(
            params,
            defaults,
            max_norm=max_norm,
            skip_nonfinite=skip_nonfinite,
            state_dtype=state_dtype,
            master=master,
            stochastic_rounding=stochastic_rounding,
            seed=seed,
            bfloat16_bits=bfloat16_bits,
        )
