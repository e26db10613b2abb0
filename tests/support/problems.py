"""Problems of `softstep train` that were no file before."""

from collections.abc import Sequence

import numpy as np

from softstep.cli.data.conversion import Conversion, Feature
from softstep.cli.data.split import Problem

Rows = tuple[np.ndarray, np.ndarray]


def posed(
    train: Rows, test: Rows, classes: Sequence[str], validation: Rows | None = None
) -> Problem:
    """Return the problem of these rows, whose features are as they should be already."""
    parts = [train, *([] if validation is None else [validation]), test]
    ends = np.cumsum([len(labels) for _, labels in parts])
    rows = np.split(np.arange(ends[-1]), ends[:-1])
    width = train[0].shape[1]
    features = tuple(Feature(str(column)) for column in range(width))
    return Problem(
        list(classes),
        Conversion(features, np.zeros(width), np.ones(width)),
        np.concatenate([features for features, _ in parts]).astype(np.float32),
        np.concatenate([labels for _, labels in parts]),
        rows[0],
        rows[1] if validation is not None else rows[0][:0],
        rows[-1],
    )
