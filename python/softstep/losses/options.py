"""The options of the cross-entropy that are no tensors, in the order of the kernels' arguments."""

from typing import NamedTuple


class Options(NamedTuple):
    """See `softstep.cross_entropy`."""

    ignore_index: int = -100
    label_smoothing: float = 0.0
    smoothing: str = "uniform"
    temperature: float = 1.0
    softcap: float | None = None
    z_loss: float = 0.0
    reduction: str = "mean"
    denominator: float | None = None
    empty: str = "nan"
