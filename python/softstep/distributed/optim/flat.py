"""Parameters of one dtype in a row, cut evenly over the ranks."""

from typing import NamedTuple

import numpy as np

from softstep._typing import FloatArray
from softstep.distributed.engines.communicator import Communicator
from softstep.distributed.engines.shard import even_counts
from softstep.optim.options import Precision


class Piece(NamedTuple):
    """Elements `begin` to `end` of a parameter, which has a number, in the order of its memory."""

    param: int
    begin: int
    end: int


class Flat:
    """The parameters of one dtype as one row of elements, of which each rank owns a part.

    Parameters
    ----------
    params : dict of ndarray
        Those of this dtype by their number, in order.
    comm : Communicator
    precision : Precision

    Attributes
    ----------
    pieces : list of Piece
        What this rank owns of each parameter.
    """

    def __init__(
        self, params: dict[int, FloatArray], comm: Communicator, precision: Precision
    ) -> None:
        self.params, self._comm = params, comm
        first = next(iter(params.values()))
        self.dtype = first.dtype
        self.bfloat16 = precision.is_bfloat16(first)
        self.total = sum(param.size for param in params.values())
        self.counts = even_counts(self.total, comm.size)
        self.begin = sum(self.counts[: comm.rank])
        self.own = slice(self.begin, self.begin + self.counts[comm.rank])
        self.places: dict[int, slice] = {}
        end = 0
        for k, param in params.items():
            self.places[k] = slice(end, end + param.size)
            end += param.size
        self.pieces = [
            Piece(k, begin - place.start, end - place.start)
            for k, place in self.places.items()
            for begin, end in [(max(place.start, self.own.start), min(place.stop, self.own.stop))]
            if begin < end
        ]
        self.row = _one_row(list(params.values()), self.total)

    def cut(self, whole: FloatArray) -> dict[int, FloatArray]:
        """Return the parts of a row as views with the shapes and layouts of the parameters."""
        return {k: in_layout(whole[place], self.params[k]) for k, place in self.places.items()}

    def within(self, piece: Piece) -> slice:
        """Return where a piece lies in this rank's part."""
        begin = self.places[piece.param].start - self.begin
        return slice(begin + piece.begin, begin + piece.end)

    def gather(self, buffer: FloatArray) -> None:
        """Give every rank the parameters of the others; the buffer is used if need be."""
        if self.row is not None:
            self._comm.all_gather(self.row[self.own], self.counts, self.row)
            return
        row = buffer.view(self.dtype)[: self.total]
        for piece in self.pieces:
            param = in_row(self.params[piece.param])
            row[self.own][self.within(piece)] = param[piece.begin : piece.end]
        self._comm.all_gather(row[self.own], self.counts, row)
        for k, values in self.cut(row).items():
            np.copyto(self.params[k], values)


def layout_of(array: FloatArray) -> tuple[int, ...]:
    """Return the axes in the order of the memory, the last one being adjacent."""
    if array.flags.c_contiguous:
        return tuple(range(array.ndim))
    return tuple(sorted(range(array.ndim), key=lambda axis: -array.strides[axis]))


def in_row(array: FloatArray) -> FloatArray:
    """Return the elements in the order of the memory, without a copy."""
    return array.transpose(layout_of(array)).reshape(-1)


def in_layout(row: FloatArray, array: FloatArray) -> FloatArray:
    """Return a row of elements as a view with the shape and the layout of an array."""
    order = layout_of(array)
    shape = [array.shape[axis] for axis in order]
    return row.reshape(shape).transpose(np.argsort(order))


def require_no_gaps(name: str, array: FloatArray) -> None:
    """Refuse what is no row of elements in any order of its axes."""
    if not array.transpose(layout_of(array)).flags.c_contiguous:
        raise ValueError(
            f"{name}: expected an array without gaps between its elements, got strides "
            f"{array.strides} for shape {array.shape}"
        )


def _one_row(params: list[FloatArray], total: int) -> FloatArray | None:
    """Return all parameters as one array, if they follow each other in an array of the caller."""
    filled = [param for param in params if param.size]
    if not filled:
        return None
    base = filled[0]
    while isinstance(base.base, np.ndarray):
        base = base.base
    if base.dtype != params[0].dtype or not (base.flags.c_contiguous and base.flags.writeable):
        return None
    address = begin = filled[0].ctypes.data
    for param in filled:
        if param.ctypes.data != address:
            return None
        address += param.nbytes
    first, rest = divmod(begin - base.ctypes.data, base.itemsize)
    inside = rest == 0 and first >= 0 and first + total <= base.size
    return base.reshape(-1)[first : first + total] if inside else None
