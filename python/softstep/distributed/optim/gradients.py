"""The buffer in which the gradients of one dtype are summed over the ranks."""

from collections.abc import Iterator, Mapping

import numpy as np

from softstep._typing import FloatArray
from softstep.distributed.engines.communicator import Communicator
from softstep.distributed.optim.flat import Flat, Piece


class Gradients:
    """Gradients in a row; those in half precision are summed in float32, and rounded once.

    Attributes
    ----------
    views : dict of ndarray
        Arrays for the caller's gradients: in the buffer, unless that is wider.
    """

    def __init__(self, flat: Flat) -> None:
        self.flat = flat
        self._half = flat.dtype.itemsize == 2
        self.buffer = np.zeros(flat.total, np.float32 if self._half else flat.dtype)
        self._part = self.buffer[flat.own]
        self._sums = np.zeros(self._part.size, flat.dtype) if self._half else self._part
        self.views = flat.cut(np.zeros(flat.total, flat.dtype) if self._half else self.buffer)

    def fill(self, grads: Mapping[int, FloatArray]) -> None:
        """Copy gradients into the buffer that are not there."""
        places = self.flat.cut(self.buffer)
        for k in places.keys() & grads.keys():
            if self._half:
                self._widen(grads[k], places[k])
            elif grads[k] is not self.views[k]:
                np.copyto(places[k], grads[k])

    def reduce(self, comm: Communicator) -> None:
        """Sum over the ranks, of which this rank gets its pieces."""
        comm.reduce_scatter(self.buffer, self.flat.counts, self._part)
        if self._half:
            self._narrow()

    def pieces(self) -> Iterator[tuple[Piece, Flat, FloatArray]]:
        """Yield this rank's pieces, their row, and their sums in the dtype of the parameters."""
        for piece in self.flat.pieces:
            yield piece, self.flat, self._sums[self.flat.within(piece)]

    def wide(self, active: Mapping[int, FloatArray]) -> list[FloatArray]:
        """Return the same numbers in float32 or float64, of the parameters that are active."""
        if self._half:
            self._widen(self._sums, self._part)
        pieces = self.flat.pieces
        return [self._part[self.flat.within(piece)] for piece in pieces if piece.param in active]

    def scale(self, factor: float) -> None:
        """Multiply what `wide` returned, and the sums, by a number that may be 0 or NaN."""
        with np.errstate(invalid="ignore"):
            self._part *= factor
        if self._half:
            self._narrow()

    def _widen(self, half: FloatArray, to: FloatArray) -> None:
        if self.flat.bfloat16:
            bits = half.view(np.uint16)
            np.left_shift(bits, 16, out=to.view(np.uint32), dtype=np.uint32)
        else:
            np.copyto(to, half)

    def _narrow(self) -> None:
        """Round this rank's part to nearest, ties to even; the part is used up."""
        if not self.flat.bfloat16:
            with np.errstate(over="ignore"):
                np.copyto(self._sums, self._part, casting="same_kind")
            return
        # The NaN of a sum of bfloat16 end in 16 zeros, and stay NaN.
        bits = self._part.view(np.uint32)
        bits += (bits >> 16 & 1) + np.uint32(0x7FFF)
        bits >>= 16
        np.copyto(self._sums.view(np.uint16), bits, casting="same_kind")
