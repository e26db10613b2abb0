"""softstep on many processes: on MPI or on torch.distributed, whichever they were started with.

``communicator()`` finds out; in a process of its own everything works as on one of one. Neither
mpi4py nor PyTorch is imported before they are needed.
"""

from softstep.distributed.engines.communicator import Communicator, Pending, Single
from softstep.distributed.engines.launch import communicator
from softstep.distributed.engines.mpi import MPI
from softstep.distributed.engines.shard import Shard, even_shard, shard_of
from softstep.distributed.engines.torch import Torch
from softstep.distributed.head.linear_cross_entropy import (
    linear_cross_entropy,
    linear_cross_entropy_with_grad,
)
from softstep.distributed.losses.cross_entropy import cross_entropy, cross_entropy_with_grad
from softstep.distributed.optim.optimizer import ShardedOptimizer

__all__ = [
    "MPI",
    "Communicator",
    "Pending",
    "Shard",
    "ShardedOptimizer",
    "Single",
    "Torch",
    "communicator",
    "cross_entropy",
    "cross_entropy_with_grad",
    "even_shard",
    "linear_cross_entropy",
    "linear_cross_entropy_with_grad",
    "shard_of",
]
