"""The first message of a sharded loss: do all ranks mean the same call, and the rows' maxima."""

from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from softstep.distributed.engines.agreement import Agreement
from softstep.distributed.engines.communicator import Communicator

FIRST_ROWS, LEAST_ROWS = 16380, 1020  # with 4 more doubles 128 KiB and 8 KiB

# The most rows that the ranks agreed on so far. All ranks have the same number, and so messages of
# the same length, even if their row counts differ: those of different lengths end gloo's process.
_most_rows: WeakKeyDictionary[Communicator, int] = WeakKeyDictionary()


def agree(
    comm: Communicator,
    call: str,
    refused: Exception | None,
    same: int,
    maxima: NDArray[np.float64] | None,
    least: int = 0,
) -> int:
    """Make `maxima` those of all ranks, and return the smallest `least`; or raise on every rank."""
    fits = 0 if maxima is None else _most_rows.get(comm, FIRST_ROWS)
    rows = np.empty(0) if maxima is None else maxima
    sent = np.full(1 + fits, -np.inf)
    sent[0] = -least
    sent[1 : 1 + len(rows)] = rows[:fits]
    found = Agreement(comm, refused, same, sent).settle(
        call,
        f"{call}: number of rows, class targets, sample_weight or options differ between the "
        f"{comm.size} ranks; expected the same on each",
    )
    rows[:fits] = found[1 : 1 + len(rows)]
    if len(rows) > fits:
        comm.all_reduce(rows[fits:], "max")
    if maxima is not None:
        _most_rows[comm] = max(LEAST_ROWS, len(rows), _most_rows.get(comm, 0))
    return -int(found[0])
