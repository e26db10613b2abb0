"""Cross-entropy of a linear layer's logits, which never exist all at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from numpy.typing import ArrayLike

import softstep._core as _core
from softstep._typing import FloatArray
from softstep.head.arguments import (
    check_buffers,
    check_head,
    check_upstream,
    check_workspace,
    wanted_gradients,
)
from softstep.head.chunks import ChunkLoop
from softstep.head.filter import check_filter
from softstep.head.targets import Targets
from softstep.losses.extra_results import Extra as Results
from softstep.losses.extra_results import check_extra
from softstep.losses.options import Empty, Options, Reduction, Smoothing

Gradient = Literal["hidden", "weight", "bias"]
Extra = Literal["lse", "z_loss", "entropy", "argmax", "correct", "target_log_prob", "dtemperature"]


def linear_cross_entropy(
    hidden: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    target_probabilities: ArrayLike | None = None,
    class_weight: ArrayLike | None = None,
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
    shift: int = 0,
    workspace: int | None = None,
    extra: Sequence[Extra] = (),
) -> Any:
    r"""Cross-entropy of the logits ``hidden @ weight.T + bias``, with bounded memory.

    The value is that of `cross_entropy` of these logits. They are made a chunk of rows at a time,
    in a workspace that the thread keeps for the next call.

    Parameters
    ----------
    hidden : array_like
        Shape (..., D): rows of D features; float32, float64, float16 or bfloat16 (ml_dtypes).
    weight : array_like
        Shape (V, D). float64 if `hidden` is, else any of the other dtypes; half precision is
        computed in float32. Where both are bfloat16 and the CPU multiplies that, the gradient
        of the logits is rounded to bfloat16 for its products, whose sums are float32.
    target : array_like
        Class indices of shape (...,); or probabilities (..., V); or with `target_probabilities` K
        classes for each row, (..., K).
    bias : array_like, optional
        Shape (V,).
    class_weight : array_like, optional
        Weight of each class, shape (V,): `cross_entropy`'s `weight`.
    target_probabilities, sample_weight, ignore_index, label_smoothing, smoothing, gamma
        As in `cross_entropy`. Ignored rows take no part in any product.
    temperature, softcap, z_loss, reduction, denominator, empty
        As in `cross_entropy`.
    shift : int
        Next-token targets: with s (True is 1) the position t of `hidden` (..., T, D) is scored on
        position t + s of `target`, the last s on none. The result is that of
        ``hidden[..., :-s, :]`` and ``target[..., s:]``; `target_probabilities` and `sample_weight`
        shift with the target.
    workspace : int, optional
        Bytes of scratch memory, at most. The default is what the products need to run at full
        speed, and at most 64 MiB, 96 of bfloat16 (unless one row takes more).
    extra : sequence of str
        Further results of the same chunks, in a dict, as in `cross_entropy`: ``"lse"``,
        ``"entropy"``, ``"argmax"`` and ``"target_log_prob"`` of each row, ``"correct"``,
        ``"z_loss"`` and ``"dtemperature"``. They take some numbers a row and no logits.

    Returns
    -------
    float or ndarray
        The reduced loss; for "none" the losses of the rows, float32 for half precision. With
        `extra`, the pair of it and the dict.

    Raises
    ------
    IndexError
        A class target outside [0, V) that is not `ignore_index`; names row and value.
    TypeError, ValueError
        For a dtype, shape or option that does not fit; a workspace too small for one row.

    See Also
    --------
    linear_cross_entropy_with_grad : the gradients too.
    release_workspace : frees the scratch memory.

    References
    ----------
    ``docs/linear_cross_entropy.md`` has the formulas and the memory that is used.

    Examples
    --------
    >>> import numpy as np, softstep as ss
    >>> hidden, weight = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> round(ss.linear_cross_entropy(hidden, weight, [0, 1]), 6)
    0.220095
    >>> round(ss.cross_entropy(hidden @ weight.T, [0, 1]), 6)
    0.220095
    >>> _, results = ss.linear_cross_entropy(hidden, weight, [0, 1], extra=["target_log_prob"])
    >>> results["target_log_prob"].round(4)
    array([-0.3133, -0.1269])
    """
    options = Options.among(locals())
    head = check_head(hidden, weight, bias)
    limit = check_workspace(workspace)
    further = _check_extra(extra, target, target_probabilities)
    targets = Targets(
        head, target, target_probabilities, class_weight, sample_weight, options, shift,
        further.written,
    )  # fmt: skip
    loss = ChunkLoop(head, targets, frozenset(), {}, frozenset(), None, limit).run()
    return (loss, targets.extra_results(further, z_loss)) if further.names else loss


def linear_cross_entropy_with_grad(
    hidden: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    target_probabilities: ArrayLike | None = None,
    class_weight: ArrayLike | None = None,
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
    shift: int = 0,
    workspace: int | None = None,
    extra: Sequence[Extra] = (),
    grads: Iterable[Gradient] = ("hidden", "weight", "bias"),
    dhidden: FloatArray | None = None,
    dweight: FloatArray | None = None,
    dbias: FloatArray | None = None,
    accumulate: bool | Iterable[Gradient] = False,
    upstream: ArrayLike | None = None,
    filter_eps: float | None = None,
) -> tuple[Any, ...]:
    """`linear_cross_entropy` and its gradients, from one computation of the logits.

    With ``dlogits`` of `cross_entropy_with_grad`, ``dhidden = dlogits @ weight``,
    ``dweight = dlogits.T @ hidden`` and ``dbias = dlogits.sum(axis=0)``, summed chunk by chunk.

    Parameters
    ----------
    hidden, weight, target, bias, target_probabilities, class_weight, sample_weight, ignore_index
        As in `linear_cross_entropy`.
    label_smoothing, smoothing, gamma, temperature, softcap, z_loss, reduction, denominator, empty
        As in `linear_cross_entropy`. With "none" the gradients are those of the sum of the losses.
    shift, workspace, extra
        As in `linear_cross_entropy`. `upstream` scales ``"dtemperature"`` as the gradients.
    grads : sequence of {"hidden", "weight", "bias"}
        Which gradients; each that is left out saves its product.
    dhidden, dweight, dbias : ndarray, optional
        Written instead of new arrays; C-contiguous, of the operands' shapes. `dhidden` has the
        dtype of `hidden`, the others what is computed in, float32 for half precision, which is
        allowed for `dhidden` too.
    accumulate : bool or sequence of {"hidden", "weight", "bias"}
        Add to these buffers instead, for gradient accumulation; True: to all that are given.
    upstream : array_like, optional
        The gradient of the caller's objective with respect to the loss: a number, or for "none" an
        array of the shape of the losses. It scales the gradients, not the loss.
    filter_eps : float, optional
        Approximate gradients, for trained heads: leaves classes out whose probability is below this
        in all rows of a chunk, in tiles of 16 classes, never with a target among them. The loss is
        exact. See ``docs/linear_cross_entropy.md`` for the bound of the error.

    Returns
    -------
    loss : float or ndarray
        As `linear_cross_entropy` returns it.
    gradients : LinearGradients
        The named tuple (dhidden, dweight, dbias); None for those not computed. Ignored rows of
        `dhidden` are 0.
    results : dict
        Only with `extra`.

    Raises
    ------
    IndexError, TypeError, ValueError
        As `linear_cross_entropy`, before anything is written.

    Examples
    --------
    >>> import numpy as np, softstep as ss
    >>> hidden, weight = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> loss, (dhidden, dweight, dbias) = ss.linear_cross_entropy_with_grad(hidden, weight, [0, 1])
    >>> dhidden.round(4)
    array([[-0.1345,  0.1345],
           [ 0.0596, -0.0596]])
    >>> _, gradients = ss.linear_cross_entropy_with_grad(
    ...     hidden, weight, [0, 1], dweight=dweight, accumulate=True, grads=["weight"]
    ... )
    >>> gradients.dweight is dweight, gradients.dhidden
    (True, None)
    """
    options = Options.among(locals())
    head = check_head(hidden, weight, bias)
    limit = check_workspace(workspace)
    eps = check_filter(filter_eps)
    wanted = wanted_gradients(grads, bias is not None)
    buffers = {"hidden": dhidden, "weight": dweight, "bias": dbias}
    given, added = check_buffers(buffers, wanted, accumulate, head)
    further = _check_extra(extra, target, target_probabilities)
    targets = Targets(
        head, target, target_probabilities, class_weight, sample_weight, options, shift,
        further.written,
    )  # fmt: skip
    scale = check_upstream(upstream, reduction, targets.shape, head.dtype)
    loop = ChunkLoop(head, targets, wanted, given, added, scale, limit, eps)
    loss, gradients = loop.run(), loop.results()
    if not further.names:
        return loss, gradients
    return loss, gradients, targets.extra_results(further, z_loss, scale)


def _check_extra(extra: Any, target: ArrayLike, target_probabilities: ArrayLike | None) -> Results:
    by_class = _core.as_array(target, "target").dtype.kind in "iub" and target_probabilities is None
    return check_extra(extra, by_class, without=("dtarget", "dweight"))
