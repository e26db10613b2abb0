"""Cross-entropy of logits whose classes are spread over processes."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from softstep._typing import FloatArray
from softstep.distributed.engines.communicator import Communicator
from softstep.distributed.engines.shard import Shard
from softstep.distributed.losses.shard import Arguments, sharded_cross_entropy
from softstep.losses.options import Empty, Reduction, Smoothing


def cross_entropy(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    shard: Shard,
    comm: Communicator | None = None,
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
) -> Any:
    """Cross-entropy of logits of which each rank has some classes.

    The loss is that of `softstep.cross_entropy` of the ranks' logits put together along `axis`, the
    same on every rank; every class counts, as in label smoothing, whichever rank has it. The ranks
    send two messages: the rows' maxima, and one sum.

    Parameters
    ----------
    logits : array_like
        This rank's classes, `shard`, along `axis`: any number of them, also none.
    target : array_like
        Class indices in [0, shard.total), the same on every rank; or the probabilities of this
        rank's classes, of the shape of `logits`; or, with `target_probabilities`, K class indices
        for each row, the same on every rank.
    shard : Shard
        The classes [begin, end) of total that this rank has; together the ranks have each once.
    comm : Communicator, optional
        The ranks that share the classes. Without one this process has them all.
    axis : int
        The class axis.
    target_probabilities : array_like, optional
        Probabilities of the K classes in `target`, the same on every rank.
    weight : array_like, optional
        Weight of each of this rank's classes.
    sample_weight : array_like, optional
        Weight of each row, the same on every rank.
    ignore_index, label_smoothing, smoothing, gamma, temperature, softcap, z_loss
        As in `softstep.cross_entropy`, the same on every rank.
    reduction, denominator, empty
        As in `softstep.cross_entropy`, the same on every rank.

    Returns
    -------
    float or ndarray
        The loss of all classes; for "none" that of each row. Equal bits on all ranks, if the
        engine's all-reduce gives equal bits.

    Raises
    ------
    IndexError, TypeError, ValueError
        As `softstep.cross_entropy`; for a shard that does not fit. On every rank for arguments that
        differ between ranks; a ValueError on the other ranks if one refuses its arguments.
    TimeoutError, ConnectionError
        From the communicator, if another rank is gone or does not call this.

    References
    ----------
    ``docs/distributed.md`` has the protocol and the bytes that are sent.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep.distributed import communicator, cross_entropy, even_shard
    >>> comm = communicator()  # under mpiexec or torchrun one of many
    >>> shard = even_shard(3, comm)
    >>> logits = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 1.0]])[:, shard.begin : shard.end]
    >>> round(cross_entropy(logits, [0, 2], shard=shard, comm=comm), 7)
    1.4795253
    """
    return sharded_cross_entropy(Arguments.among(locals()), shard, comm, False, None)[0]


def cross_entropy_with_grad(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    shard: Shard,
    comm: Communicator | None = None,
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
    out: FloatArray | None = None,
) -> tuple[Any, FloatArray]:
    """`cross_entropy` and its gradient with respect to this rank's logits.

    The gradient needs no message of its own: with the loss's sums each rank has what its classes
    need.

    Parameters
    ----------
    logits, target, shard, comm, axis, target_probabilities, weight, sample_weight, ignore_index
        As in `cross_entropy`.
    label_smoothing, smoothing, gamma, temperature, softcap, z_loss, reduction, denominator, empty
        As in `cross_entropy`.
    out : ndarray, optional
        Written instead of a new array, of the shape and dtype of `logits`; ``out=logits`` works in
        place.

    Returns
    -------
    loss : float or ndarray
        As `cross_entropy` returns it.
    dlogits : ndarray
        Of the shape and dtype of `logits`; `out` if it was given.

    Raises
    ------
    IndexError, TypeError, ValueError
        As `cross_entropy`, before anything is written on any rank.
    TimeoutError, ConnectionError
        As `cross_entropy`.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep.distributed import Shard, cross_entropy_with_grad
    >>> logits = np.array([[0.0, 0.0], [0.0, 0.0]])
    >>> loss, dlogits = cross_entropy_with_grad(logits, [0, 1], shard=Shard(0, 2, 2))
    >>> round(loss, 6)
    0.693147
    >>> dlogits
    array([[-0.25,  0.25],
           [ 0.25, -0.25]])
    """
    return sharded_cross_entropy(Arguments.among(locals()), shard, comm, True, out)
