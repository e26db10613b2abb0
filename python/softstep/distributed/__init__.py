"""softstep on many processes: on MPI or on torch.distributed, whichever they were started with.

``communicator()`` finds out; in a process of its own everything works as on one of one. Neither
mpi4py nor PyTorch is imported before they are needed.
"""

from softstep.distributed._communicator import Communicator, Pending, Single
from softstep.distributed._cross_entropy import cross_entropy, cross_entropy_with_grad
from softstep.distributed._launch import communicator
from softstep.distributed._linear_cross_entropy import (
    linear_cross_entropy,
    linear_cross_entropy_with_grad,
)
from softstep.distributed._mpi import MPI
from softstep.distributed._optimizer import ShardedOptimizer
from softstep.distributed._shard import Shard, even_shard, shard_of
from softstep.distributed._torch import Torch

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
