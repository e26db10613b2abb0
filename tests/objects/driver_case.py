"""One case of the driver: inputs in the kernels' storage types, expected results and bounds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

DTYPES = [np.dtype(t) for t in (np.float32, np.float64, np.float16, ml_dtypes.bfloat16)]


@dataclass(frozen=True)
class Case:
    family: str
    dtype: np.dtype[Any]
    title: str
    # Matrices; a vector is a matrix of one row.
    arrays: Mapping[str, NDArray[Any]]
    # Name of a result: (values, bounds), which may be broadcast to the values.
    expected: Mapping[str, tuple[Any, Any]]
    options: Mapping[str, float] = field(default_factory=dict)


def overflown(values: Any, dtype: Any) -> NDArray[np.float64]:
    """What is beyond the dtype of the result is infinite there."""
    values = np.asarray(values, np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        stored = values.astype(dtype).astype(np.float64)
    return np.where(np.isinf(stored), stored, values)


def as_bytes(case: Case) -> Iterator[bytes]:
    """The lines of a case; each array follows its line as raw little-endian numbers."""
    yield f"case {case.family} {case.dtype.name} {case.title}".encode()
    for name, number in case.options.items():
        yield f"option {name} {float(number)!r}".encode()
    for name, array in case.arrays.items():
        matrix = np.atleast_2d(array)
        yield f"array {name} {matrix.dtype.name} {matrix.shape[0]} {matrix.shape[1]}".encode()
        yield matrix.tobytes()
    for name, (values, bounds) in case.expected.items():
        matrix = np.atleast_2d(np.asarray(values, np.float64))
        limits = np.broadcast_to(np.asarray(bounds, np.float64), matrix.shape)
        # Where a number is infinite or none, it must agree: there is no bound.
        limits = np.where(np.isfinite(matrix) & np.isfinite(limits), limits, 0.0)
        yield f"expect {name} {matrix.shape[0]} {matrix.shape[1]}".encode()
        yield matrix.tobytes()
        yield limits.tobytes()
    yield b"end"
