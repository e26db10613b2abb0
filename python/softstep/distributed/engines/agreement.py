"""Whether all ranks call with the same arguments, before anything else is sent."""

from collections.abc import Mapping
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import ArrayLike, NDArray

import softstep._core as _core
from softstep.distributed.engines.communicator import Communicator

HEADER = 3  # a refusing rank + 1, the checksum and its negative


def checksum(meaning: object, arrays: Mapping[str, ArrayLike | None] | None = None) -> int:
    """Return a number that tells what has to be the same on every rank: a ``repr``, and arrays."""
    found = crc32(repr(meaning).encode())
    for name, values in (arrays or {}).items():
        if values is not None:
            array = np.ascontiguousarray(_core.as_array(values, name))
            found = crc32(f"{name} {array.dtype} {array.shape}".encode(), found)
            found = crc32(array.reshape(-1).view(np.uint8).data, found)
    return found


class Agreement:
    """A small all-reduce that is under way while the caller prepares its data.

    Parameters
    ----------
    comm : Communicator
    refused : Exception or None
        Why this rank refused its arguments: no rank goes on then, and none waits for it.
    same : int
        What has to be the same on all ranks: a `checksum`.
    maxima : sequence of float
        Of each, every rank gets the largest; as many on each rank, none of them NaN.
    """

    def __init__(
        self, comm: Communicator, refused: Exception | None, same: int, maxima: Any = ()
    ) -> None:
        self._refused = refused
        self._message = np.full(HEADER + len(maxima), -np.inf)
        if refused is not None:
            self._message[0] = comm.rank + 1
        else:
            # The maximum of a number and that of its negative tell whether it is the same.
            self._message[1:HEADER] = same, -same
            self._message[HEADER:] = maxima
        self._pending = comm.start_all_reduce(self._message, "max")

    def settle(self, call: str, differ: str) -> NDArray[np.float64]:
        """Return the maxima; or raise on every rank alike, `differ` if the arguments do.

        The rank that refused its arguments raises its own error; the others name it.
        """
        self._pending.wait()
        other, same, negative = self._message[:HEADER]
        if self._refused is not None:
            raise self._refused
        if other > 0:
            raise ValueError(f"{call}: rank {int(other) - 1} refused its arguments; see its error")
        if same != -negative:
            raise ValueError(differ)
        return self._message[HEADER:]
