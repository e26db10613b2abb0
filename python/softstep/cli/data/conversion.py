"""From the columns of a table to standardised features, as they are saved with the weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softstep.cli.data.column import Column, Numbers, Texts
from softstep.cli.data.selection import FEW_LEVELS, Changes
from softstep.cli.data.table import Table
from softstep.cli.errors import InputError

# Categories of a column that have a feature each, the most frequent ones; the others share one.
MOST_LEVELS = 100
Raw = NDArray[np.float64]


@dataclass(frozen=True)
class Feature:
    """What a column becomes: its number, or a 0 or 1 for each of its ``levels``."""

    name: str
    levels: tuple[str, ...] | None = None
    # A feature for texts that are none of the levels, and one for missing values.
    other: bool = False
    missing: bool = False

    @property
    def width(self) -> int:
        """How many features the column becomes."""
        return (1 if self.levels is None else len(self.levels)) + self.other + self.missing

    @classmethod
    def of(cls, column: Column, rows: NDArray[np.int64]) -> Feature:
        """Take the categories from ``rows``."""
        missing = bool(column.missing().any())
        if isinstance(column, Numbers):
            return cls(column.name, missing=missing)
        found = np.bincount(column.codes[rows] + 1, minlength=len(column.levels) + 1)[1:]
        least = 1 if len(column.levels) <= FEW_LEVELS else 2
        ranked = np.argsort(-found, kind="stable")[:MOST_LEVELS]
        levels = sorted(column.levels[k] for k in ranked if found[k] >= least)
        return cls(column.name, tuple(levels), len(levels) < len(column.levels), missing)

    def raw(self, column: Column) -> Iterator[Raw]:
        """Yield each feature; NaN is a missing number."""
        if self.levels is None:
            assert isinstance(column, Numbers)
            yield np.asarray(column.values, np.float64)
        else:
            assert isinstance(column, Texts)
            position = {level: k for k, level in enumerate(self.levels)}
            known = [position.get(level, len(position)) for level in column.levels]
            codes = np.array([*known, -1])[column.codes]
            for k in range(len(self.levels) + self.other):
                yield (codes == k).astype(np.float64)
        if self.missing:
            yield column.missing().astype(np.float64)


@dataclass(frozen=True)
class Conversion:
    """Features of columns, standardised: z = (x - mean) / scale, clipped to [-limit, limit].

    A missing number is the mean. A feature that hardly varies in training (a pixel in the corner)
    is many deviations off when it does: unclipped, one such row decides the step of its batch.
    """

    features: tuple[Feature, ...]
    mean: Raw
    scale: Raw
    limit: float = 3.0
    missing_values: tuple[str, ...] = ()

    @classmethod
    def fit(
        cls, table: Table, rows: NDArray[np.int64], missing_values: Sequence[str]
    ) -> Conversion:
        """Take categories, means and deviations from ``rows``; a constant is only centred."""
        features = tuple(Feature.of(column, rows) for column in table.columns)
        moments = []
        for feature, column in zip(features, table.columns, strict=True):
            refuse_infinite(table, column)
            moments += [_moments(table, feature, raw[rows]) for raw in feature.raw(column)]
        mean, scale = np.array(moments).T
        return cls(features, mean, scale, missing_values=tuple(missing_values))

    def __call__(self, columns: Sequence[Column]) -> NDArray[np.float32]:
        """Return the standardised features of each row, in float32."""
        result = np.empty((len(columns[0]), len(self.mean)), np.float32)
        position = 0
        with np.errstate(over="ignore"):
            for feature, column in zip(self.features, columns, strict=True):
                for raw in feature.raw(column):
                    z = (raw - self.mean[position]) / self.scale[position]
                    np.clip(z, -self.limit, self.limit, out=z)
                    result[:, position] = np.nan_to_num(z, copy=False, nan=0.0)
                    position += 1
        return result

    def describe(self, table: Table, changes: Changes) -> None:
        """Add to ``changes`` what becomes of the columns of the table that is trained on."""
        for feature in self.features:
            if feature.levels is not None:
                count = len(feature.levels) + feature.other
                changes.add("one-hot", f"{feature.name} ({count})")
        for feature, column in zip(self.features, table.columns, strict=True):
            if feature.missing:
                count = int(np.count_nonzero(column.missing()))
                kind = "the mean" if feature.levels is None else "none of the categories"
                changes.add(
                    f"missing values as {kind} and an indicator", f"{feature.name} ({count})"
                )

    def saved(self) -> dict[str, Any]:
        """Return what `loaded` reads from JSON, but for the arrays."""
        features = [asdict(feature) for feature in self.features]
        return {"features": features, "missing_values": list(self.missing_values)}

    @classmethod
    def loaded(cls, saved: dict[str, Any], mean: Raw, scale: Raw, limit: float) -> Conversion:
        """Return what was `saved`."""
        features = tuple(
            Feature(**{**each, "levels": None if each["levels"] is None else tuple(each["levels"])})
            for each in saved["features"]
        )
        width = sum(feature.width for feature in features)
        if mean.shape != (width,) or scale.shape != (width,):
            raise ValueError(
                f"mean, scale: expected shape ({width},), got {mean.shape}, {scale.shape}"
            )
        return cls(features, mean, scale, limit, tuple(saved["missing_values"]))


def _moments(table: Table, feature: Feature, values: Raw) -> tuple[float, float]:
    values = values[~np.isnan(values)]
    if not values.size:
        return 0.0, 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        mean, scale = float(values.mean()), float(values.std())
    if not np.isfinite(scale):
        raise InputError(
            f"{table.source}, column {feature.name}: expected values whose variance fits in "
            f"float64, got up to {np.abs(values).max():g}"
        )
    # Not only `scale == 0`: the deviation of a constant is often a rounding error above 0.
    constant = scale == 0 or values.min() == values.max()
    return mean, 1.0 if constant else scale


def refuse_infinite(table: Table, column: Column) -> None:
    """Refuse an infinite number."""
    if isinstance(column, Numbers) and np.isinf(column.values).any():
        row = int(np.argmax(np.isinf(column.values)))
        value = column.values[row]
        raise InputError(
            f"{table.place(row)}, column {column.name}: expected a finite number, got "
            f"{value}: --missing-values {value} takes it for a missing one"
        )
