"""From a table to a problem: the held-out part, and features standardised by the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softstep.cli.data.labels import Indices, check_classes, encode_labels
from softstep.cli.data.table import Table
from softstep.cli.errors import InputError

Examples = tuple[NDArray[np.float32], Indices]


def stratified_split(
    labels: Indices, fraction: float, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    """Return the rows to train and to test on: of each class, ``fraction`` and one at least."""
    train, test = [], []
    for label in range(int(labels.max()) + 1):
        rows = rng.permutation(np.flatnonzero(labels == label))
        held_out = min(max(round(fraction * len(rows)), 1), len(rows) - 1)
        test.append(rows[:held_out])
        train.append(rows[held_out:])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(test))


@dataclass(frozen=True)
class Standardiser:
    """z = (x - mean) / scale, clipped to [-limit, limit].

    A feature that hardly varies in training (a pixel in the corner) is many deviations off when it
    does: unclipped, one such row decides the step of its batch.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    limit: float = 3.0

    @classmethod
    def fit(cls, table: Table, rows: Indices) -> Standardiser:
        """Take mean and deviation from ``rows``; a constant feature is only centred."""
        features = table.features[rows]
        with np.errstate(over="ignore", invalid="ignore"):
            mean, scale = features.mean(axis=0), features.std(axis=0)
        usable = np.isfinite(scale)
        if not usable.all():
            column = int(np.argmin(usable))
            largest = np.abs(features[:, column]).max()
            raise InputError(
                f"{table.source}, column {table.columns[column]}: expected values whose variance "
                f"fits in float64, got up to {largest:g}"
            )
        # Not only `scale == 0`: the deviation of a constant is often a rounding error above 0.
        constant = features.min(axis=0) == features.max(axis=0)
        scale[constant | (scale == 0)] = 1
        return cls(mean, scale)

    def __call__(self, features: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return ``features`` standardised, in float32."""
        with np.errstate(over="ignore"):
            standardised = features - self.mean
            standardised /= self.scale
        return np.clip(standardised, -self.limit, self.limit, out=standardised).astype(np.float32)


@dataclass(frozen=True)
class Problem:
    """Rows to train and to test on, standardised by those to train on."""

    classes: list[str]
    standardise: Standardiser
    train: Examples
    test: Examples


def pose_problem(table: Table, test_fraction: float, rng: np.random.Generator) -> Problem:
    """Hold out ``test_fraction`` of ``table`` and standardise both parts."""
    labels, classes = encode_labels(table)
    check_classes(table, labels, classes)
    train, test = stratified_split(labels, test_fraction, rng)
    standardise = Standardiser.fit(table, train)
    return Problem(
        classes,
        standardise,
        (standardise(table.features[train]), labels[train]),
        (standardise(table.features[test]), labels[test]),
    )
