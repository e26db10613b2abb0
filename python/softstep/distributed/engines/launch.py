"""The communicator of a process, from how it was started."""

from __future__ import annotations

import atexit
import os
from datetime import timedelta

from softstep.distributed.engines.communicator import Communicator, Single
from softstep.distributed.engines.mpi import MPI
from softstep.distributed.engines.torch import Torch

_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_MPI_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")
_MPI_RANKS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK")


def communicator(*, timeout: float = 300.0) -> Communicator:
    """Return what connects this process to the others that were started with it.

    ``torchrun`` is known by ``RANK``, ``WORLD_SIZE``, ``MASTER_ADDR`` and ``MASTER_PORT`` in the
    environment, and gives `Torch`; an MPI launcher (``mpiexec``, ``srun``) by ``PMI_RANK``,
    ``PMIX_RANK`` or ``OMPI_COMM_WORLD_RANK``, and gives `MPI`; otherwise, or if the environment
    says that there is one process, it is `Single`. torch.distributed is initialised if it
    was not, with gloo, and then also left at exit.

    Parameters
    ----------
    timeout : float
        Seconds that a collective may take.

    Raises
    ------
    ImportError
        If many processes were started, and mpi4py or PyTorch is missing.
    RuntimeError
        If MPI knows of another number of processes than its launcher.

    Examples
    --------
    >>> from softstep.distributed import communicator
    >>> communicator()  # doctest: +ELLIPSIS
    <softstep.distributed.engines.communicator.Single object at ...>
    """
    environment = os.environ
    if all(name in environment for name in _TORCHRUN):
        return _torch(timeout) if environment["WORLD_SIZE"] != "1" else Single()
    if any(name in environment for name in _MPI_RANKS):
        sizes = [int(environment[name]) for name in _MPI_SIZES if name in environment]
        return _mpi(timeout, sizes[0] if sizes else None)
    return Single()


def launched_rank() -> int | None:
    """Return the rank that a launcher gave this process, or None; no engine is imported for it."""
    by_torchrun = all(name in os.environ for name in _TORCHRUN)
    names = ("RANK",) if by_torchrun else _MPI_RANKS
    return next((int(os.environ[name]) for name in names if name in os.environ), None)


def _mpi(timeout: float, size: int | None) -> Communicator:
    if size == 1:
        return Single()
    comm = MPI(timeout=timeout)
    if size not in (None, comm.size):
        raise RuntimeError(
            f"the launcher started {size} processes, and MPI finds {comm.size}: mpi4py is built "
            "for another MPI than the launcher's"
        )
    return comm


def _torch(timeout: float) -> Communicator:
    try:
        import torch.distributed as dist
    except ImportError:
        return Torch()  # whose error says how to get it
    if not dist.is_initialized():
        dist.init_process_group("gloo", timeout=timedelta(seconds=timeout))
        atexit.register(_leave)
    return Torch(timeout=timeout)


def _leave() -> None:
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()
