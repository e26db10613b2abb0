"""The first message of a sharded loss: do all ranks mean the same call, and the rows' maxima."""

from typing import Any
from weakref import WeakKeyDictionary
from zlib import crc32

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softstep._foreign import as_array
from softstep.distributed.engines.communicator import Communicator

HEADER = 4  # a refusing rank + 1, the digest and its negative, and the negative of `least`
FIRST_ROWS, LEAST_ROWS = 16380, 1020  # with the header 128 KiB and 8 KiB

# The most rows that the ranks agreed on so far. All ranks have the same number, and so messages of
# the same length, even if their row counts differ: those of different lengths end gloo's process.
_most_rows: WeakKeyDictionary[Communicator, int] = WeakKeyDictionary()


def digest(meaning: Any, arrays: dict[str, ArrayLike | None]) -> int:
    """Return a checksum of what has to be the same on every rank."""
    found = crc32(repr(meaning).encode())
    for name, values in arrays.items():
        if values is not None:
            array = np.ascontiguousarray(as_array(values, name))
            found = crc32(f"{name} {array.dtype} {array.shape}".encode(), found)
            found = crc32(array.reshape(-1).view(np.uint8).data, found)
    return found


def agree(
    comm: Communicator,
    call: str,
    refused: Exception | None,
    checksum: int,
    maxima: NDArray[np.float64] | None,
    least: int = 0,
) -> int:
    """Make `maxima` those of all ranks, and return the smallest `least`; or raise on every rank.

    A rank that refused its arguments comes with its error, which it raises; the others name it.
    """
    fits = 0 if maxima is None else _most_rows.get(comm, FIRST_ROWS)
    rows = np.empty(0) if maxima is None else maxima
    message = np.full(HEADER + fits, -np.inf)
    if refused is not None:
        message[0] = comm.rank + 1
    else:
        message[1:HEADER] = checksum, -checksum, -least
        message[HEADER : HEADER + len(rows)] = rows[:fits]
    comm.all_reduce(message, "max")
    if refused is not None:
        raise refused
    if message[0] > 0:
        raise ValueError(f"{call}: rank {int(message[0]) - 1} refused its arguments; see its error")
    if message[1] != -message[2]:
        raise ValueError(
            f"{call}: number of rows, class targets, sample_weight or options differ between the "
            f"{comm.size} ranks; expected the same on each"
        )
    rows[:fits] = message[HEADER : HEADER + len(rows)]
    if len(rows) > fits:
        comm.all_reduce(rows[fits:], "max")
    if maxima is not None:
        _most_rows[comm] = max(LEAST_ROWS, len(rows), _most_rows.get(comm, 0))
    return -int(message[3])
