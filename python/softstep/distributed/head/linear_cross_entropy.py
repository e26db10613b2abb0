"""The linear head of a large vocabulary, with the classes on several processes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from numpy.typing import ArrayLike

from softstep._typing import FloatArray
from softstep.distributed.engines.communicator import Communicator
from softstep.distributed.engines.shard import Shard
from softstep.distributed.head.call import Call, sharded_head
from softstep.head.arguments import LinearGradients
from softstep.head.linear_cross_entropy import Gradient
from softstep.losses.options import Empty, Options, Reduction, Smoothing


def linear_cross_entropy(
    hidden: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    *,
    shard: Shard,
    comm: Communicator | None = None,
    rows: Shard | None = None,
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
) -> Any:
    """Cross-entropy of ``hidden @ weight.T + bias``, each rank with the weights of some classes.

    The loss is that of `softstep.linear_cross_entropy` of all classes, the same on every rank. The
    ranks go through the rows in the same chunks, with two messages for each.

    Parameters
    ----------
    hidden : array_like
        Shape (..., D), the same on every rank; or with `rows` this rank's rows, shape (n, D).
    weight : array_like
        The rows [shard.begin, shard.end) of the matrix, shape (shard.size, D).
    target : array_like
        Class indices in [0, shard.total) of all rows, the same on every rank; or the probabilities
        of this rank's classes; or with `target_probabilities` K classes for each row.
    shard : Shard
        The classes [begin, end) of total that this rank has; together the ranks have each once.
    comm : Communicator, optional
        The ranks that share the classes. Without one this process has them all.
    rows : Shard, optional
        The rows of the batch that this rank's `hidden` has, if it has not all: the ranks' rows
        follow one another, and are gathered a chunk at a time.
    bias, class_weight : array_like, optional
        Of this rank's classes, shape (shard.size,).
    target_probabilities, sample_weight, ignore_index, label_smoothing, smoothing, gamma
        As in `softstep.linear_cross_entropy`, of all rows, the same on every rank.
    temperature, softcap, z_loss, reduction, denominator, empty
        As in `softstep.linear_cross_entropy`, the same on every rank.
    shift : int
        As in `softstep.linear_cross_entropy`; not with `rows`.
    workspace : int, optional
        Bytes of scratch memory on this rank, at most. The rank that can take the fewest rows at a
        time decides for all.

    Returns
    -------
    float or ndarray
        The reduced loss; for "none" that of every row of the batch, on every rank.

    Raises
    ------
    IndexError, TypeError, ValueError
        As `softstep.distributed.cross_entropy` and `softstep.linear_cross_entropy`.
    TimeoutError, ConnectionError
        From the communicator.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep.distributed import communicator, even_shard, linear_cross_entropy
    >>> comm = communicator()
    >>> shard = even_shard(2, comm)
    >>> hidden, weight = np.array([[1.0, 0.0], [0.0, 2.0]]), np.eye(2)[shard.begin : shard.end]
    >>> round(linear_cross_entropy(hidden, weight, [0, 1], shard=shard, comm=comm), 6)
    0.220095
    """
    options = Options.among(locals())
    call = Call(
        hidden, weight, target, bias, target_probabilities, class_weight, sample_weight, options,
        shift, workspace, False,
    )  # fmt: skip
    return sharded_head(call, shard, comm, rows)[0]


def linear_cross_entropy_with_grad(
    hidden: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    *,
    shard: Shard,
    comm: Communicator | None = None,
    rows: Shard | None = None,
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
    grads: Iterable[Gradient] = ("hidden", "weight", "bias"),
    dhidden: FloatArray | None = None,
    dweight: FloatArray | None = None,
    dbias: FloatArray | None = None,
    accumulate: bool | Iterable[Gradient] = False,
    upstream: ArrayLike | None = None,
) -> tuple[Any, LinearGradients]:
    """`linear_cross_entropy` and its gradients: those of this rank's weights, and of its rows.

    ``dweight`` and ``dbias`` need no message. ``dhidden`` is a sum over the ranks, of a chunk at a
    time: an all-reduce, or with `rows` a reduce-scatter.

    Parameters
    ----------
    hidden, weight, target, shard, comm, rows, bias, target_probabilities, class_weight
        As in `linear_cross_entropy`.
    sample_weight, ignore_index, label_smoothing, smoothing, gamma, temperature, softcap, z_loss
        As in `linear_cross_entropy`.
    reduction, denominator, empty, shift, workspace
        As in `linear_cross_entropy`.
    grads, dhidden, dweight, dbias, accumulate
        As in `softstep.linear_cross_entropy_with_grad`. Every rank asks for ``"hidden"`` or none.
    upstream : array_like, optional
        As in `softstep.linear_cross_entropy_with_grad`, the same on every rank.

    Returns
    -------
    loss : float or ndarray
        As `linear_cross_entropy` returns it.
    gradients : LinearGradients
        The named tuple (dhidden, dweight, dbias), of the shapes of this rank's operands.

    Raises
    ------
    IndexError, TypeError, ValueError
        As `linear_cross_entropy`, before anything is written on any rank.
    TimeoutError, ConnectionError
        From the communicator.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep.distributed import Shard, linear_cross_entropy_with_grad
    >>> hidden, weight = np.array([[1.0, 0.0], [0.0, 2.0]]), np.eye(2)
    >>> loss, gradients = linear_cross_entropy_with_grad(
    ...     hidden, weight, [0, 1], shard=Shard(0, 2, 2)
    ... )
    >>> gradients.dhidden.round(4)
    array([[-0.1345,  0.1345],
           [ 0.0596, -0.0596]])
    """
    options = Options.among(locals())
    buffers = {"hidden": dhidden, "weight": dweight, "bias": dbias}
    call = Call(
        hidden, weight, target, bias, target_probabilities, class_weight, sample_weight, options,
        shift, workspace, True, grads, buffers, accumulate, upstream,
    )  # fmt: skip
    return sharded_head(call, shard, comm, rows)
