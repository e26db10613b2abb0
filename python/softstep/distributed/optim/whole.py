"""All parameters and options of a sharded optimizer, as every rank has them."""

import zlib
from typing import Any

import numpy as np

from softstep.distributed.optim.flat import in_row, layout_of, require_no_gaps
from softstep.optim.ledger import Group, Params
from softstep.optim.optimizer import Optimizer


def checked(kind: Any, params: Params, options: Group) -> Optimizer:
    """Return an optimizer that never steps, and so has no state: its ledger is used."""
    whole: Optimizer = kind(params, **options)
    for k, param in enumerate(whole.params):
        require_no_gaps(f"params[{k}]", param)
    return whole


def identity(whole: Optimizer) -> tuple[Any, ...]:
    """Return what has to be the same on all ranks, the values of the parameters included."""
    ledger = whole.ledger
    params = [
        (p.shape, p.dtype.name, layout_of(p), zlib.crc32(in_row(p).view(np.uint8).data))
        for p in ledger.params
    ]
    settings = ledger.precision, ledger.seed, whole.skip_nonfinite, whole.max_norm
    return type(whole).__name__, settings, ledger.numbers(), ledger.group_of, params
