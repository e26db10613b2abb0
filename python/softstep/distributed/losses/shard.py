"""A rank's classes of a cross-entropy, and what the ranks add up to make it whole."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import softstep._core as _core
from softstep.distributed.engines.agreement import checksum
from softstep.distributed.engines.communicator import Communicator, Single
from softstep.distributed.engines.shard import Shard
from softstep.distributed.losses.first_message import agree
from softstep.losses.options import Options

TRAILER = 3  # doubles after the sums: two that check the shards, and a part of the denominator


class Arguments(NamedTuple):
    """The arguments; see `softstep.distributed.cross_entropy`."""

    logits: Any
    target: Any
    axis: Any
    target_probabilities: Any
    weight: Any
    sample_weight: Any
    options: Options

    @classmethod
    def among(cls, arguments: Mapping[str, Any]) -> "Arguments":
        """Pick them out of the arguments of a function."""
        arrays = {name: arguments[name] for name in cls._fields if name != "options"}
        return cls(**arrays, options=Options.among(arguments))

    def keywords(self) -> dict[str, Any]:
        """Return them as the extension takes them."""
        named = self._asdict()
        del named["options"]
        return {**named, **self.options._asdict()}


def checked_communicator(comm: Communicator | None) -> Communicator:
    """Return the communicator; without one this process is alone."""
    if comm is None:
        return Single()
    if not isinstance(comm, Communicator):
        raise TypeError(
            f"comm: expected a softstep.distributed.Communicator or None, got {type(comm).__name__}"
        )
    return comm


def checked_shard(shard: Any, size: int, name: str = "shard", things: str = "classes") -> Shard:
    """Return the shard; a process that is alone has everything."""
    try:
        found = Shard(*(int(number.__index__()) for number in shard))
    except (TypeError, AttributeError):
        raise TypeError(
            f"{name}: expected a Shard, the integers (begin, end, total), got {shard!r}"
        ) from None
    if not 0 <= found.begin <= found.end <= found.total:
        raise ValueError(f"{name}: expected 0 <= begin <= end <= total, got {tuple(found)}")
    if size == 1 and (found.begin, found.end) != (0, found.total):
        raise ValueError(
            f"{name}: expected all {found.total} {things} in a single process, got "
            f"[{found.begin}, {found.end}); pass comm, of all the processes that share them"
        )
    return found


def check_classes(shard: Shard, array: Any, axis: Any, name: str = "logits") -> None:
    """Check that an operand has the shard's classes; an axis that is none is left to the kernel."""
    try:
        classes = np.shape(array)[axis]
    except (IndexError, TypeError):
        return
    if classes != shard.size:
        raise ValueError(
            f"shard: expected as many classes as {name} has, {classes}, got [{shard.begin}, "
            f"{shard.end})"
        )


def sharded_cross_entropy(
    arguments: Arguments, shard: Any, comm: Communicator | None, with_gradient: bool, out: Any
) -> tuple[Any, Any]:
    """Return loss and gradient of a rank; every rank returns, or every rank raises."""
    ranks = checked_communicator(comm)
    if ranks.size == 1:
        check_classes(checked_shard(shard, 1), arguments.logits, arguments.axis)
        alone = arguments.keywords()
        return _core.cross_entropy(**alone, with_gradient=with_gradient, out=out)
    refused, part, sums, same = None, None, np.empty((0, 1)), 0
    logits, dlogits = np.empty(0), None
    try:
        classes = checked_shard(shard, ranks.size)
        check_classes(classes, arguments.logits, arguments.axis)
        part, logits, dlogits = _core.CrossEntropyCall.of_segment(
            **arguments.keywords(),
            first=classes.begin,
            total=classes.total,
            with_gradient=with_gradient,
            out=out,
        )
        same = _checksum(arguments, classes, with_gradient, part)
        sums = part.sweep(logits)
    except Exception as error:  # the others wait: they have to hear of it
        refused = error
    maxima = sums[:, 0].copy()
    agree(ranks, "cross_entropy", refused, same, maxima)
    assert part is not None
    part = part.divided_by(add_sums(ranks, part, sums, maxima, classes))
    return part.finish(logits, sums, dlogits), dlogits


def add_sums(
    comm: Communicator,
    part: _core.CrossEntropyCall,
    sums: NDArray[np.float64],
    maxima: NDArray[np.float64],
    shard: Shard,
) -> float:
    """Make `sums` those of all classes, in one message; returns what a mean divides by."""
    part.shift(sums, maxima)
    used = part.used
    message = np.empty(len(sums) * len(used) + TRAILER)
    fields = message[:-TRAILER].reshape(len(sums), len(used))
    np.take(sums, used, axis=1, out=fields)
    message[-TRAILER:] = shard.size, _squares(shard), part.loss_denominator
    comm.all_reduce(message, "sum")
    if message[-3] != shard.total or message[-2] % 2**32 != shard.total**2 % 2**32:
        raise ValueError(
            f"shard: expected shards that have each of {shard.total} classes once, got "
            f"{int(message[-3])} classes on {comm.size} ranks, some left out or twice"
        )
    sums[:, used] = fields
    return float(message[-1] if part.denominator_is_part else part.loss_denominator)


def _squares(shard: Shard) -> int:
    """Return what adds up to the total's square, modulo 2**32, if the shards follow one another."""
    return (shard.end**2 - shard.begin**2) % 2**32


def _checksum(arguments: Arguments, shard: Shard, with_gradient: bool, part: Any) -> int:
    a = arguments
    batch = list(np.shape(a.logits))
    del batch[a.axis]
    by_index = a.target_probabilities is not None or np.ndim(a.target) == len(batch)
    meaning = (
        shard.total, batch, a.options, a.weight is None, by_index, with_gradient, part.used
    )  # fmt: skip
    same = {
        "target": a.target if by_index else None,
        "target_probabilities": a.target_probabilities,
        "sample_weight": a.sample_weight,
    }
    return checksum(meaning, same)
