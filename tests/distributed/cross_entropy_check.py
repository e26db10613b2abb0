"""A cross-entropy on ranks that are threads, put together again to be compared with the whole."""

from typing import Any

import numpy as np

from softstep.distributed import Shard, cross_entropy, cross_entropy_with_grad
from tests.support.ranks import ThreadRanks


def shard_of_rank(cuts: Any, rank: int) -> Shard:
    """The shard between two of the cuts, which begin with 0 and end with the number of classes."""
    return Shard(int(cuts[rank]), int(cuts[rank + 1]), int(cuts[-1]))


def part_of(x: Any, target: Any, options: dict[str, Any], shard: Shard) -> tuple[Any, ...]:
    """A rank's logits, target and options."""
    axis = options.get("axis", -1)
    own = slice(shard.begin, shard.end)
    at = (*(slice(None),) * (axis % x.ndim), own)
    target = np.asarray(target)
    mine = dict(options)
    if "target_probabilities" not in options and target.dtype.kind not in "iub":
        target = target[at]
    if options.get("weight") is not None:
        mine["weight"] = options["weight"][own]
    return x[at], target, mine


def sharded(x: Any, target: Any, cuts: Any, in_place: bool = False, **options: Any) -> Any:
    """Loss and gradient of the whole, from a call on len(cuts) - 1 ranks.

    The losses must have equal bits on all ranks, with and without the gradient, and in place.
    """
    axis = options.get("axis", -1)

    def call(comm: Any) -> Any:
        shard = shard_of_rank(cuts, comm.rank)
        logits, own_target, own = part_of(x, target, options, shard)
        own |= {"shard": shard, "comm": comm}
        if in_place:
            logits = np.array(logits)
            loss, dlogits = cross_entropy_with_grad(logits, own_target, out=logits, **own)
            assert dlogits is logits
            return loss, dlogits
        loss, dlogits = cross_entropy_with_grad(logits, own_target, **own)
        if comm.size > 1:
            np.testing.assert_array_equal(cross_entropy(logits, own_target, **own), loss)
        assert dlogits.dtype == x.dtype.newbyteorder("=") and dlogits.shape == logits.shape
        return loss, dlogits

    results = ThreadRanks(len(cuts) - 1).run(call)
    for loss, _ in results:
        np.testing.assert_array_equal(loss, results[0][0])  # the bits, but for those of a NaN
    return results[0][0], np.concatenate([dlogits for _, dlogits in results], axis=axis)


def outcomes(size: int, call: Any) -> list[Any]:
    """Of every rank what it returns or raises; fails if one waits for another in vain."""

    def caught(comm: Any) -> Any:
        try:
            return call(comm)
        except (IndexError, TypeError, ValueError) as error:
            return error

    return ThreadRanks(size, timeout=10).run(caught)
