"""Targets of the linear head: which rows count, and the targets of a chunk of them."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

import softstep._core as _core
from softstep._typing import FloatArray
from softstep.head.arguments import Head
from softstep.head.shift import check_shift, shifted
from softstep.losses.extra_results import Extra
from softstep.losses.options import Options


class Targets:
    """Checked targets of all rows; `rows` are those of `hidden` that count, in order."""

    def __init__(
        self,
        head: Head,
        target: ArrayLike,
        target_probabilities: ArrayLike | None,
        class_weight: ArrayLike | None,
        sample_weight: ArrayLike | None,
        options: Options,
        shift: int,
        written: tuple[str, ...] = (),
        **segment: int,
    ) -> None:
        lead, classes = head.hidden.shape[:-1], len(head.weight)
        self.dtype = head.dtype
        parts: Any = [_core.as_array(target, "target"), target_probabilities, sample_weight]
        positions = np.arange(math.prod(lead)).reshape(lead)
        ahead = check_shift(shift)
        if ahead:
            scored, later = shifted(lead, ahead)
            parts = _picked(parts, lead, later)
            positions = np.ascontiguousarray(positions[scored])
        classes_or_masses, probabilities, weights = parts
        self.shape = positions.shape
        self.call = _core.CrossEntropyCall.of_chunks(
            (*self.shape, classes),
            head.dtype,
            classes_or_masses,
            target_probabilities=probabilities,
            class_weight=class_weight,
            sample_weight=weights,
            **segment,
            **options._asdict(),
        )
        self.dense = probabilities is None and classes_or_masses.dtype.kind not in "iub"
        self._probabilities: FloatArray | None = classes_or_masses if self.dense else None
        self.reduction, self.empty = options.reduction, options.empty
        self._count, self.rows = positions.size, positions.reshape(-1)
        self._kept: FloatArray | None = None
        counts = self.call.counts
        if counts is not None and not counts.all():
            self.keep(np.flatnonzero(counts))
        # A part of what a mean divides by is summed later; until then it is not 0.
        self.denominator = 1.0
        self._names = written
        if not self.call.denominator_is_part:
            self._divide_by(self.call.loss_denominator)
        # Of the rows that count, in order.
        self._written: dict[str, FloatArray] = {
            name: np.empty(len(self.rows), np.int32 if name == "argmax" else self.dtype)
            for name in written
        }

    def keep(self, rows: FloatArray) -> None:
        """Go on with these of the rows, in this order."""
        self.call = self.call.kept(rows)
        self.rows = self.rows[rows]
        self._kept = rows if self._kept is None else self._kept[rows]

    def _divide_by(self, denominator: float) -> None:
        """Set what a mean divides by."""
        if not 0 <= denominator < math.inf:
            raise ValueError(
                "class_weight, sample_weight: expected weights whose sum over the rows, which the "
                f"mean divides by, is finite and not negative, got {denominator}"
            )
        self.denominator = denominator
        if denominator != self.call.loss_denominator:
            self.call = self.call.divided_by(denominator)
        # A mean over nothing, whose gradient is 0; the rows' other results are what they are.
        if denominator == 0 and not self._names:
            self.keep(np.empty(0, np.int64))

    @property
    def copies_probabilities(self) -> bool:
        """Whether the probabilities of a chunk cannot be used where they lie."""
        q = self._probabilities
        return q is not None and not (
            self._kept is None and q.dtype == self.dtype and q.flags.c_contiguous
        )

    def new_losses(self) -> FloatArray:
        """Return an array for the losses of all rows, 0 where they do not count."""
        return np.zeros(self._count, self.dtype)

    def delivered(self, losses: FloatArray) -> Any:
        """Return the losses in the shape of the targets; a single one as NumPy's scalar."""
        return losses.reshape(self.shape)[()]

    @property
    def no_rows_loss(self) -> float:
        """The reduced loss of a call in which no row counts."""
        is_nan = self.reduction == "mean" and self.denominator == 0 and self.empty == "nan"
        return np.nan if is_nan else 0.0

    def picked(self, begin: int, end: int) -> Any:
        """Return what picks the counting rows [begin, end) out of all."""
        return slice(begin, end) if self._kept is None else self._kept[begin:end]

    def classes(self, begin: int, end: int) -> FloatArray:
        """Return the classes that rows [begin, end) have as targets; none if they are dense."""
        return self.call.classes(begin, end)

    def shares(self, begin: int, end: int) -> FloatArray:
        """Return what rows [begin, end) count in the reduced loss, without class weights."""
        share: FloatArray = np.ones(end - begin, self.dtype)
        weight = self.call.sample_weight
        if weight is not None:
            np.abs(weight.reshape(-1)[begin:end], out=share)
        np.divide(share, np.float64(self.denominator), out=share, casting="same_kind")
        return share

    def cross_entropy(
        self,
        logits: FloatArray,
        begin: int,
        with_gradient: bool,
        probabilities: FloatArray | None,
    ) -> Any:
        """Loss of the rows from `begin` on; their gradient overwrites the logits if it is wanted.

        `probabilities` is scratch for dense targets that cannot be used where they lie.
        """
        dense = self.probabilities_of(logits, begin, probabilities)
        end = begin + len(logits)
        extra = {name: rows[begin:end] for name, rows in self._written.items()}
        return self.call.run(logits, begin, dense, with_gradient, extra)

    def extra_results(
        self, extra: Extra, z_loss: float, upstream: FloatArray | None = None
    ) -> dict[str, Any]:
        """Return the extra results by name, once all chunks have run."""
        kept = self.picked(0, len(self.rows))
        weight = self.call.sample_weight
        factor: Any = 0.0 if self.denominator == 0 else 1 / self.denominator
        z_denominator = self.call.z_denominator
        results = extra.named(
            self._written,
            self.classes(0, len(self.rows)) if "correct" in extra.names else None,
            z_loss,
            1.0 if weight is None else weight.reshape(-1),
            self.reduction == "none",
            factor if upstream is None else factor * upstream[kept],
            0.0 if z_denominator == 0 else 1 / z_denominator,
        )
        for name, result in results.items():
            if isinstance(result, np.ndarray):
                every = np.full(self._count, -1 if name == "argmax" else 0, result.dtype)
                every[kept] = result
                results[name] = every.reshape(self.shape)
        return results

    def probabilities_of(
        self, logits: FloatArray, begin: int, scratch: FloatArray | None
    ) -> FloatArray | None:
        """Return the dense targets of the rows of `logits`."""
        q = self._probabilities
        if q is None:
            return None
        picked = self.picked(begin, begin + len(logits))
        if scratch is None:
            rows: FloatArray = q.reshape(self._count, logits.shape[-1])[picked]
            return rows
        part = scratch[: len(logits)]
        for to, row in zip(part, np.arange(self._count)[picked], strict=True):
            to[...] = q[np.unravel_index(row, self.shape)]
        return part


def _picked(parts: list[Any], lead: tuple[int, ...], later: tuple[slice, ...]) -> list[Any]:
    """Targets, their probabilities and weights without the first positions."""
    names = ("target", "target_probabilities", "sample_weight")
    arrays = [
        None if part is None else _core.as_array(part, name)
        for part, name in zip(parts, names, strict=True)
    ]
    for array, name in zip(arrays, names, strict=True):
        if array is not None and array.shape[: len(lead)] != lead:
            raise ValueError(
                f"{name}: expected shape {lead} as hidden's positions, got {array.shape}"
            )
    return [None if array is None else array[later] for array in arrays]
