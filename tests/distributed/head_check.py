"""A sharded head on ranks that are threads, put together again to be compared with the whole."""

from typing import Any

import numpy as np

import softstep as ss
from softstep.distributed import linear_cross_entropy, linear_cross_entropy_with_grad
from tests.distributed.cross_entropy_check import shard_of_rank
from tests.support.linear_cross_entropy_check import check_results
from tests.support.ranks import ThreadRanks

BY_CLASS = ("bias", "class_weight", "dweight", "dbias")


def part_of(
    hidden: Any, weight: Any, target: Any, options: dict[str, Any], cuts: Any, rows: Any, rank: int
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A rank's arrays and options; the rows, if they are sharded, are cut as the classes are."""
    shard = shard_of_rank(cuts, rank)
    own = slice(shard.begin, shard.end)
    mine = {k: v[own] if k in BY_CLASS and v is not None else v for k, v in options.items()}
    mine["shard"] = shard
    target = np.asarray(target)
    if "target_probabilities" not in options and target.dtype.kind not in "iub":
        target = target[..., own]
    if rows is not None:
        mine["rows"] = shard_of_rank(rows, rank)
        begin, end, _ = mine["rows"]
        hidden = hidden[begin:end]
        if options.get("dhidden") is not None:
            mine["dhidden"] = options["dhidden"][begin:end]
    elif options.get("dhidden") is not None:
        mine["dhidden"] = np.array(options["dhidden"])
    return (hidden, weight[own], target), mine


def sharded_head(
    hidden: Any, weight: Any, target: Any, cuts: Any, rows: Any = None, **options: Any
) -> tuple[Any, Any]:
    """Loss and gradients of the whole, from a call on len(cuts) - 1 ranks.

    Loss and gradient of the hidden rows must have equal bits on all ranks.
    """

    def call(comm: Any) -> Any:
        arrays, own = part_of(hidden, weight, target, options, cuts, rows, comm.rank)
        return linear_cross_entropy_with_grad(*arrays, comm=comm, **own)

    results = ThreadRanks(len(cuts) - 1).run(call)
    gradients = [gradients for _, gradients in results]
    for loss, _ in results:
        np.testing.assert_array_equal(loss, results[0][0])

    def joined(name: str) -> Any:
        parts = [getattr(each, name) for each in gradients]
        if any(part is None for part in parts):
            assert all(part is None for part in parts)
            return None
        if name == "dhidden" and rows is None:
            for part in parts:
                np.testing.assert_array_equal(part, parts[0])
            return parts[0]
        return np.concatenate(parts)

    return results[0][0], ss.LinearGradients(*map(joined, ss.LinearGradients._fields))


def check_sharded_head(
    hidden: Any, weight: Any, target: Any, cuts: Any, rows: Any = None, **options: Any
) -> None:
    """Loss, gradients and loss alone, within the rounding that one process is granted."""
    loss, gradients = sharded_head(hidden, weight, target, cuts, rows, **options)
    check_results(loss, gradients, hidden, weight, target, **options)
    without = {k: v for k, v in options.items() if k not in ("grads", "upstream")}

    def call(comm: Any) -> Any:
        arrays, own = part_of(hidden, weight, target, without, cuts, rows, comm.rank)
        return linear_cross_entropy(*arrays, comm=comm, **own)

    no_gradients = ss.LinearGradients(None, None, None)
    for alone in ThreadRanks(len(cuts) - 1).run(call):
        check_results(alone, no_gradients, hidden, weight, target, **without)
