"""Whether all ranks call with the same arguments, before anything else is sent."""

import zlib

import numpy as np

from softstep.distributed.engines.communicator import Communicator


class Agreement:
    """A small all-reduce that is under way while the caller prepares its data.

    Parameters
    ----------
    comm : Communicator
    same : object
        What has to have the same ``repr`` on all ranks.
    error : Exception or None
        Why this rank refused its arguments: no rank goes on then, and none waits for it.
    """

    def __init__(self, comm: Communicator, same: object, error: Exception | None) -> None:
        digest = zlib.crc32(repr(same).encode())
        self._error = error
        # The maximum of a number and that of its negative tell whether it is the same everywhere.
        self._header = np.array([0 if error is None else comm.rank + 1, digest, -digest], np.int64)
        self._pending = comm.start_all_reduce(self._header, "max")

    def settle(self, what: str) -> None:
        """Raise on every rank alike if one refused its arguments, or they differ."""
        self._pending.wait()
        refused, digest, negative = self._header.tolist()
        if self._error is not None:
            raise self._error
        if refused:
            raise ValueError(f"{what}: rank {refused - 1} refused its arguments; see its error")
        if digest != -negative:
            raise ValueError(f"{what} differ between ranks")
