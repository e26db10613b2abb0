"""Cross-entropy of a softmax classifier from its logits, with the gradient in the same pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from numpy.typing import ArrayLike

import softstep._core as _core
from softstep._typing import FloatArray
from softstep.losses.extra_results import extra_results
from softstep.losses.options import Empty, Reduction, Smoothing

Extra = Literal[
    "lse",
    "z_loss",
    "entropy",
    "argmax",
    "correct",
    "target_log_prob",
    "dtemperature",
    "dtarget",
    "dweight",
]


def cross_entropy(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    axis: int = -1,
    target_probabilities: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    smoothing: Smoothing = "uniform",
    gamma: float = 0.0,
    temperature: float = 1.0,
    softcap: float | None = None,
    z_loss: float = 0.0,
    reduction: Reduction = "mean",
    denominator: float | None = None,
    empty: Empty = "nan",
    extra: Sequence[Extra] = (),
) -> Any:
    r"""Cross-entropy between targets and the softmax of logits.

    With ``x = softcap * tanh(logits / softcap) / T`` (without a softcap ``x = logits / T``) and
    ``lse = logsumexp(x)``, the loss of a row is

    - class target t, with ``p[t] = exp(x[t] - lse)``:
      ``(1 - eps) w[t] (1 - p[t])**gamma (lse - x[t]) + eps / C * sum(w * (lse - x))``,
    - probabilities q, which need not sum to 1: with ``q' = w ((1 - eps) q + eps / C)``,
      ``sum(q') lse - sum(q' * x)``,
    - sparse probabilities: the same, q being 0 but at the K classes given,

    each plus ``z_loss * lse**2``, times the row's sample weight. It is accurate as the target's
    probability approaches 1, where ``-log(p)`` is not. Half precision is computed and summed in
    float32 or wider.

    Parameters
    ----------
    logits : array_like
        Any shape with C classes along `axis`; float32, float64, float16 or bfloat16 (ml_dtypes).
    target : array_like
        Class indices of any integer dtype, of the shape of `logits` without `axis`; or
        probabilities of the shape of `logits`; or, with `target_probabilities`, K class indices for
        each row: the shape without `axis`, and a last axis of length K.
    axis : int
        The class axis. (PyTorch's is fixed: 1.)
    target_probabilities : array_like, optional
        Probabilities of the K classes in `target`, of its shape: sparse soft targets, as in
        distillation from a teacher's top K. An index of `ignore_index` is no class.
    weight : array_like, optional
        Weight w of each class, shape (C,).
    sample_weight : array_like, optional
        Weight of each row, of the shape of `logits` without `axis`; a boolean mask works too. Rows
        of weight 0 are ignored, whatever the kind of target.
    ignore_index : int
        Rows with this class target have loss 0 and gradient 0, whatever their logits hold.
    label_smoothing : float
        ``eps`` in [0, 1].
    smoothing : {"uniform", "exclude_target", "allowed"}
        Where eps goes: over all C classes; over the C - 1 others of a class target; or over the
        classes whose logit is not -inf.
    gamma : float
        Of the focal loss, at least 0: class targets that are nearly certain count less.
    temperature : float
        ``T > 0``.
    softcap : float, optional
        Bounds the logits softly to (-softcap, softcap). A logit of -inf stays -inf.
    z_loss : float
        Coefficient of ``lse**2``, which keeps the logits from drifting.
    reduction : {"mean", "sum", "none"}
        The mean divides by the sum of ``w[t] * sample_weight`` over the rows that are not ignored;
        for probabilities by the sum of `sample_weight`, never by class weights (as PyTorch does).
        The z-loss is divided by the sum of `sample_weight` in every case.
    denominator : float, optional
        Divides instead, for gradient accumulation; only with the mean.
    empty : {"nan", "zero", "raise"}
        The mean over no rows.
    extra : sequence of str
        Further results of the same pass, returned by name in a dict: per row ``"lse"``,
        ``"entropy"`` (of the softmax), ``"argmax"`` (the first largest logit; -1 in ignored rows)
        and ``"target_log_prob"`` (of class targets); ``"correct"``, the number of rows whose argmax
        is the target; ``"z_loss"``, that part of the loss; and the gradients of the reduced loss
        ``"dtemperature"``, ``"dtarget"`` (with respect to the probabilities) and ``"dweight"``
        (with respect to the class weights).

    Returns
    -------
    float or ndarray
        The reduced loss; for "none" an array of the shape of class targets, float32 for half
        precision. With `extra`, the pair of it and the dict.

    Raises
    ------
    IndexError
        A class target outside [0, C) that is not `ignore_index`; names row and value.
    TypeError, ValueError
        For a dtype, shape or option that does not fit.

    References
    ----------
    The semantics are those of ``torch.nn.functional.cross_entropy`` (PyTorch 2.13) where it has the
    option; ``docs/cross_entropy.md`` states every formula, edge case and difference. The focal loss
    is of T.-Y. Lin et al., "Focal loss for dense object detection", 2017.

    Examples
    --------
    >>> import softstep as ss
    >>> logits = [[1.0, 2.0, 3.0], [0.0, 0.0, 1.0]]
    >>> round(ss.cross_entropy(logits, [0, 2]), 7)
    1.4795253
    >>> ss.cross_entropy(logits, [0, -100], reduction="none").round(4)
    array([2.4076, 0.    ])
    >>> loss, results = ss.cross_entropy(logits, [0, 2], extra=("correct", "argmax"))
    >>> results["correct"], results["argmax"]
    (1, array([2, 2], dtype=int32))
    """
    if extra:
        loss, _, results = extra_results(locals())
        return loss, results
    return _core.cross_entropy(
        logits,
        target,
        axis,
        target_probabilities,
        weight,
        sample_weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        smoothing=smoothing,
        gamma=gamma,
        temperature=temperature,
        softcap=softcap,
        z_loss=z_loss,
        reduction=reduction,
        denominator=denominator,
        empty=empty,
    )[0]


def cross_entropy_with_grad(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    axis: int = -1,
    target_probabilities: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    smoothing: Smoothing = "uniform",
    gamma: float = 0.0,
    temperature: float = 1.0,
    softcap: float | None = None,
    z_loss: float = 0.0,
    reduction: Reduction = "mean",
    denominator: float | None = None,
    empty: Empty = "nan",
    extra: Sequence[Extra] = (),
    out: FloatArray | None = None,
) -> tuple[Any, ...]:
    """`cross_entropy` and its gradient with respect to the logits, in one pass.

    For a class target t, ``dlogits = g * w[t] * (p - [c == t]) / T``, ``p = softmax(logits / T)``
    and g the row's part in the reduction (``1 / n`` in a plain mean of n rows, 1 in a sum); the
    other options add their terms. The gradient of the target has no cancellation in ``p - 1``.

    Parameters
    ----------
    logits, target, axis, target_probabilities, weight, sample_weight, ignore_index
        As in `cross_entropy`.
    label_smoothing, smoothing, gamma, temperature, softcap, z_loss, extra
        As in `cross_entropy`.
    reduction, denominator, empty
        As in `cross_entropy`. With "none" the gradient is that of the sum of the losses. The
        gradient of a mean over no rows is 0.
    out : ndarray, optional
        Written instead of a new array; of the shape and dtype of `logits`. ``out=logits`` works in
        place, which saves the most memory traffic.

    Returns
    -------
    loss : float or ndarray
        As `cross_entropy` returns it.
    dlogits : ndarray
        Of the shape and dtype of `logits`; `out` if it was given.
    results : dict
        Only with `extra`.

    Raises
    ------
    IndexError, TypeError, ValueError
        As `cross_entropy`, before anything is written.

    Examples
    --------
    >>> import numpy as np, softstep as ss
    >>> logits = np.array([[0.0, 0.0], [0.0, 0.0]])
    >>> loss, dlogits = ss.cross_entropy_with_grad(logits, [0, 1], out=logits)
    >>> round(loss, 6), dlogits is logits
    (0.693147, True)
    >>> dlogits
    array([[-0.25,  0.25],
           [ 0.25, -0.25]])
    """
    if extra:
        return extra_results(locals(), with_gradient=True)
    # More than 16 by name, and Python would make a dict of them.
    return _core.cross_entropy(
        logits,
        target,
        axis,
        target_probabilities,
        weight,
        sample_weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        smoothing=smoothing,
        gamma=gamma,
        temperature=temperature,
        softcap=softcap,
        z_loss=z_loss,
        reduction=reduction,
        denominator=denominator,
        empty=empty,
        with_gradient=True,
        out=out,
    )
