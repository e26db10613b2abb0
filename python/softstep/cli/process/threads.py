"""How many threads a rank takes of the cores that it shares with others."""

from __future__ import annotations

import os
import socket
import zlib

import numpy as np

import softstep as ss
from softstep.cli.errors import InputError
from softstep.distributed import Communicator

# Linux's own limit is 8192.
CORES = 8192


def set_threads(wanted: int | None) -> None:
    """Give the kernels the number of threads that the user said, if any."""
    if wanted is not None:
        try:
            ss.set_num_threads(wanted)
        except ValueError as error:
            raise InputError(f"--threads: {error}") from error


def divide_cores(comm: Communicator, wanted: int | None) -> None:
    """Give this rank its part of the cores, where the user has not said otherwise."""
    if comm.size == 1 or _omp_is_set():
        return
    part = _part_of_cores(comm)
    if wanted is None and "SOFTSTEP_NUM_THREADS" not in os.environ:
        ss.set_num_threads(part)


def _omp_is_set() -> bool:
    """Return whether the user did; torchrun sets it to 1, whatever the machine has."""
    number = os.environ.get("OMP_NUM_THREADS", "")
    return number != "" and not (number == "1" and "TORCHELASTIC_RUN_ID" in os.environ)


def _part_of_cores(comm: Communicator) -> int:
    """Return the cores that this rank may use, each divided by the ranks that may use it."""
    mine = np.zeros(CORES, bool)
    mine[list(os.sched_getaffinity(0))] = True
    host = np.array([zlib.crc32(socket.gethostname().encode())])
    own = np.concatenate([host.view(np.uint8), np.packbits(mine)])
    everyone = np.empty(comm.size * own.size, np.uint8)
    comm.all_gather(own, [own.size] * comm.size, everyone)
    rows = everyone.reshape(comm.size, -1)
    here = rows[(rows[:, : host.nbytes] == own[: host.nbytes]).all(axis=1), host.nbytes :]
    users = np.unpackbits(here, axis=1).sum(axis=0)
    # Three thirds are one core.
    return max(1, int((1 / users[mine]).sum() + 1e-6))
