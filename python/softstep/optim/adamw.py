"""Adam with decoupled weight decay."""

from __future__ import annotations

from softstep.optim import rules
from softstep.optim.ledger import Params
from softstep.optim.optimizer import Optimizer
from softstep.optim.options import Schedule


class AdamW(Optimizer):
    """Adam with decoupled weight decay on a list of arrays, in place, one memory pass a step.

    With the rate ``a`` and the decay ``d`` of the step and ``b1, b2 = betas``, for each parameter p
    with its gradient g and its own number of steps t, the first being 1, in this order::

        g = g / grad_scale
        g = min(1, max_norm / (norm + 1e-6)) g      with max_norm; norm of all gradients
        g = -g                                      if maximize
        p = (1 - a d) p                             if decoupled
        g = g + d p                                 otherwise
        m = m + (1 - b1) (g - m)
        v = b2 v + (1 - b2) g**2
        u = max(u, v)                               with amsgrad, instead of v below
        p = p - a / (1 - b1**t) m / (sqrt(v / (1 - b2**t)) + eps)

    Parameters
    ----------
    params : sequence of ndarray, or of dict
        As in `SGD`.
    lr : float or callable
        The rate: a number, or a schedule that is called with the number of steps done so far, 0
        first.
    betas : tuple of float
        Both in [0, 1).
    eps : float
        At least 0.
    weight_decay : float or callable
        ``d >= 0``, a number or a schedule.
    amsgrad : bool
        Divide by the root of the largest second moment so far, ``u``, so that no step grows because
        gradients have become small.
    decoupled : bool
        False: the decay is part of the gradient, as in Adam with an L2 penalty.
    decay_by_lr, maximize, min_decay_ndim, max_norm, skip_nonfinite, master
        As in `SGD`.
    state_dtype : str, optional
        "bfloat16": the first moment of float32 and half-precision parameters takes half the memory.
        The second moment, which bfloat16 would not let decay, is float32 or float64, and so is the
        largest.
    stochastic_rounding, seed, bfloat16_bits
        As in `SGD`.

    Attributes
    ----------
    params, param_groups, lr, steps
        As in `SGD`.

    Raises
    ------
    TypeError, ValueError
        As in `SGD`.

    Notes
    -----
    The bias corrections are folded into the rate and epsilon, which costs one division and one
    root an element; results differ from other orders of the same operations by roundings.

    References
    ----------
    The semantics are those of ``torch.optim.AdamW`` and, with ``decoupled=False``, of
    ``torch.optim.Adam`` (PyTorch 2.13). I. Loshchilov and F. Hutter, "Decoupled weight decay
    regularization", 2019; D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization",
    2015; S. J. Reddi, S. Kale and S. Kumar, "On the convergence of Adam and beyond", 2018.

    Examples
    --------
    >>> import numpy as np, softstep as ss
    >>> w = np.array([1.0, 2.0])
    >>> adamw = ss.AdamW([w], 0.1, weight_decay=0.0)
    >>> adamw.step([np.array([4.0, -0.5])])  # the first step is the rate, whatever the gradient
    StepResult(norm=None, skipped=False)
    >>> w.round(6)
    array([0.9, 2.1])
    """

    _RULE = rules.ADAMW

    def __init__(
        self,
        params: Params,
        lr: float | Schedule,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float | Schedule = 0.01,
        amsgrad: bool = False,
        decoupled: bool = True,
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
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
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
