"""Targets of the linear head: which rows count, and the targets of a chunk of them."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

import softstep._core as _core
from softstep._typing import FloatArray
from softstep.head.arguments import Head
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
        shift: bool,
    ) -> None:
        lead, classes = head.hidden.shape[:-1], len(head.weight)
        self.dtype = head.dtype
        target = np.asarray(target)
        self.dense = target_probabilities is None and target.dtype.kind not in "iub"
        if not self.dense:
            target = np.array(target)  # checked once, and used as it was checked
        parts: list[Any] = [target, target_probabilities, sample_weight]
        positions = np.arange(int(np.prod(lead, dtype=np.int64))).reshape(lead)
        if shift:
            parts = _shifted(parts, lead)
            positions = positions[..., :-1]
        self.target, probabilities, weights = parts
        self.shape = positions.shape
        # What the kernel checks has no logits yet, and dense probabilities may be large.
        logits = np.broadcast_to(np.zeros((), head.dtype), (*self.shape, classes))
        seen = self.target
        if self.dense:
            seen = np.broadcast_to(np.zeros((), seen.dtype), seen.shape)
        try:
            counts, denominator, z_denominator = self._check(
                logits, seen, probabilities, class_weight, weights, options
            )
        except (TypeError, ValueError) as error:
            if str(error).startswith("weight:"):
                raise type(error)(f"class_{error}") from None
            raise
        self._count, self._positions = positions.size, positions.reshape(-1)
        self._keep(None if counts is None or counts.all() else np.flatnonzero(counts))
        self._divide_by(denominator)
        if options.z_loss and denominator and z_denominator:
            options = options._replace(z_loss=options.z_loss * denominator / z_denominator)
        self._options, self.reduction = options, options.reduction
        self._class_weight = _as_computed(class_weight, head.dtype)
        self._sample_weight = _flat(_as_computed(weights, head.dtype), 0)
        self._probabilities = _flat(_as_computed(probabilities, head.dtype), 1)
        if not self.dense:
            self.target = _flat(self.target, 0 if probabilities is None else 1)

    def _check(
        self,
        logits: FloatArray,
        target: FloatArray,
        probabilities: Any,
        class_weight: Any,
        sample_weight: Any,
        options: Options,
    ) -> tuple[Any, float, float]:
        """Return which rows count, None for all, and what a mean divides the two losses by."""
        return _core.cross_entropy_rows(
            logits, target, probabilities, class_weight, sample_weight, *options
        )

    def _keep(self, kept: FloatArray | None) -> None:
        """Set which positions count, in which order; None for all."""
        self._kept = kept
        self.rows = self._positions if kept is None else self._positions[kept]

    def _divide_by(self, denominator: float) -> None:
        """Set what a mean divides by."""
        if not (np.isfinite(denominator) and denominator >= 0):
            raise ValueError(
                "class_weight, sample_weight: expected weights whose sum over the rows, which the "
                f"mean divides by, is finite and not negative, got {denominator}"
            )
        self.denominator = denominator
        if denominator == 0:  # a mean over nothing, whose gradient is 0
            self._keep(np.empty(0, np.intp))

    @property
    def copies_probabilities(self) -> bool:
        """Whether the probabilities of a chunk cannot be used where they lie."""
        return self.dense and not (
            self._kept is None
            and self.target.dtype == self.dtype
            and self.target.flags.c_contiguous
        )

    def new_losses(self) -> FloatArray:
        """Return an array for the losses of all rows, 0 where they do not count."""
        return np.zeros(self._count, self.dtype)

    def delivered(self, losses: FloatArray) -> Any:
        """Return the losses in the shape of the targets; a single one as a number."""
        return losses.reshape(self.shape) if self.shape else losses.item()

    @property
    def no_rows_loss(self) -> float:
        """The reduced loss of a call in which no row counts."""
        is_nan = self.reduction == "mean" and self.denominator == 0 and self._options.empty == "nan"
        return np.nan if is_nan else 0.0

    def picked(self, begin: int, end: int) -> Any:
        """Return what picks the counting rows [begin, end) out of all."""
        return slice(begin, end) if self._kept is None else self._kept[begin:end]

    def classes(self, begin: int, end: int) -> FloatArray:
        """Return the classes that rows [begin, end) have as targets; none if they are dense."""
        if self.dense:
            return np.empty(0, np.intp)
        found: FloatArray = self.target[self.picked(begin, end)].reshape(-1)
        kept: FloatArray = found[found != self._options.ignore_index]
        return kept.astype(np.intp)

    def shares(self, begin: int, end: int) -> FloatArray:
        """Return what rows [begin, end) count in the reduced loss, without class weights."""
        share: FloatArray = np.ones(end - begin, self.dtype)
        if self._sample_weight is not None:
            np.abs(self._sample_weight[self.picked(begin, end)], out=share)
        np.divide(share, self.denominator, out=share)
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
        options = self._options
        if options.reduction == "mean":
            options = options._replace(denominator=self.denominator)
        target, sparse, sample_weight = self._rows_of(logits, begin, probabilities)
        result = _core.cross_entropy(
            logits,
            target,
            -1,
            sparse,
            self._class_weight,
            sample_weight,
            *options,
            None,
            with_gradient,
            logits if with_gradient else None,
        )
        return result[0]

    def _rows_of(
        self, logits: FloatArray, begin: int, probabilities: FloatArray | None
    ) -> tuple[Any, Any, Any]:
        """Return target, sparse probabilities and sample weights of the rows of `logits`."""
        picked = self.picked(begin, begin + len(logits))
        if not self.dense:
            target = self.target[picked]
        elif probabilities is None:
            target = self.target.reshape(self._count, logits.shape[-1])[picked]
        else:
            target = probabilities[: len(logits)]
            rows = np.arange(self._count)[picked]
            for to, row in zip(target, rows, strict=True):
                to[...] = self.target[np.unravel_index(row, self.shape)]
        return (
            target,
            None if self._probabilities is None else self._probabilities[picked],
            None if self._sample_weight is None else self._sample_weight[picked],
        )


def _shifted(parts: list[Any], lead: tuple[int, ...]) -> list[Any]:
    """Targets, their probabilities and weights without the first position."""
    if not lead:
        raise ValueError("shift: expected hidden of shape (..., T, D), got one row")
    axis = len(lead) - 1
    arrays = [None if part is None else np.asarray(part) for part in parts]
    for array, name in zip(
        arrays, ("target", "target_probabilities", "sample_weight"), strict=True
    ):
        if array is not None and array.shape[: len(lead)] != lead:
            raise ValueError(
                f"{name}: expected shape {lead} as hidden's positions, got {array.shape}"
            )
    rest = (*(slice(None),) * axis, slice(1, None))
    return [None if array is None else array[rest] for array in arrays]


def _as_computed(values: ArrayLike | None, dtype: np.dtype[Any]) -> Any:
    return None if values is None else np.array(values, dtype)


def _flat(array: Any, kept: int) -> Any:
    """All axes but the last `kept` as one."""
    if array is None:
        return None
    return array.reshape(-1, *array.shape[array.ndim - kept :])
