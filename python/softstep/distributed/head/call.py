"""A call of the sharded head: checked on each rank, agreed on by all, and run."""

from typing import Any, NamedTuple

import numpy as np

from softstep.distributed.engines.agreement import checksum
from softstep.distributed.engines.communicator import Communicator
from softstep.distributed.engines.shard import Shard
from softstep.distributed.head.shard import ShardLoop, ShardTargets
from softstep.distributed.losses.first_message import agree
from softstep.distributed.losses.shard import (
    check_classes,
    checked_communicator,
    checked_shard,
)
from softstep.head.arguments import (
    Head,
    LinearGradients,
    check_buffers,
    check_head,
    check_upstream,
    check_workspace,
    wanted_gradients,
)
from softstep.head.chunks import ChunkLoop
from softstep.head.shift import check_shift
from softstep.head.targets import Targets
from softstep.losses.options import Options


class Call(NamedTuple):
    """The arguments; see `softstep.distributed.linear_cross_entropy_with_grad`."""

    hidden: Any
    weight: Any
    target: Any
    bias: Any
    target_probabilities: Any
    class_weight: Any
    sample_weight: Any
    options: Options
    shift: int
    workspace: Any
    with_gradient: bool
    grads: Any = ()
    buffers: dict[str, Any] = {}  # noqa: RUF012  it is never written
    accumulate: Any = False
    upstream: Any = None


def sharded_head(
    call: Call, shard: Any, comm: Communicator | None, rows: Any
) -> tuple[Any, LinearGradients]:
    """Return loss and gradients of a rank; every rank returns, or every rank raises."""
    ranks = checked_communicator(comm)
    if ranks.size == 1:
        alone, _ = _loop(call, shard, ranks, rows)
        return alone.run(), alone.results()
    refused, loop, same, chunk = None, None, 0, 0
    try:
        loop, same = _loop(call, shard, ranks, rows)
        chunk = loop.plan.rows
    except Exception as error:  # the others wait: they have to hear of it
        refused = error
    chunk = agree(ranks, "linear_cross_entropy", refused, same, None, chunk)
    assert isinstance(loop, ShardLoop)
    loop.start(chunk)
    return loop.run(), loop.results()


def _loop(call: Call, shard: Any, comm: Communicator, rows: Any) -> tuple[ChunkLoop, int]:
    """Check a rank's arguments; returns what is to be run, and a checksum of what is common."""
    classes = checked_shard(shard, comm.size, "shard", "classes")
    head = check_head(call.hidden, call.weight, call.bias)
    check_classes(classes, head.weight, 0, "weight")
    own = None if rows is None else _own_rows(rows, head, call.shift, comm.size)
    workspace = check_workspace(call.workspace)
    wanted, given, added = frozenset[str](), dict[str, Any](), frozenset[str]()
    if call.with_gradient:
        wanted = wanted_gradients(call.grads, call.bias is not None)
        given, added = check_buffers(call.buffers, wanted, call.accumulate, head)
    arguments = (
        call.target, call.target_probabilities, call.class_weight, call.sample_weight, call.options,
        call.shift,
    )  # fmt: skip
    if comm.size == 1:
        targets = Targets(head, *arguments)
        scale = check_upstream(call.upstream, targets.reduction, targets.shape, head.dtype)
        return ChunkLoop(head, targets, wanted, given, added, scale, workspace), 0
    whole = head
    if own is not None:
        everyone = np.broadcast_to(np.zeros((), head.dtype), (own.total, head.weight.shape[1]))
        whole = head._replace(hidden=everyone)
    sharded = ShardTargets(comm, classes, own is not None, whole, *arguments)
    scale = check_upstream(call.upstream, sharded.reduction, sharded.shape, head.dtype)
    loop = ShardLoop(comm, own, head, sharded, wanted, given, added, scale, workspace)
    meaning = (
        "head", classes.total, whole.hidden.shape, head.dtype, call.options,
        check_shift(call.shift), own is None, "hidden" in wanted, sharded.used,
    )  # fmt: skip
    same = {
        "target": None if sharded.dense else call.target,
        "target_probabilities": call.target_probabilities,
        "sample_weight": call.sample_weight,
        "upstream": call.upstream,
    }
    return loop, checksum(meaning, same)


def _own_rows(rows: Any, head: Head, shift: int, size: int) -> Shard:
    own = checked_shard(rows, size, "rows", "rows")
    if head.hidden.ndim != 2 or len(head.hidden) != own.size:
        raise ValueError(
            f"hidden: expected shape ({own.size}, D), of the rows [{own.begin}, {own.end}), got "
            f"{head.hidden.shape}"
        )
    if shift:
        raise ValueError("shift: expected 0 with rows, whose order in a sequence is not known")
    return own
