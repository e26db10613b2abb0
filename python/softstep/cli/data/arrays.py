"""Read arrays that NumPy or SciPy saved: .npz and .npy."""

from __future__ import annotations

import io
import operator
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softstep.cli.data.column import Column, Numbers, Texts
from softstep.cli.data.memory import most_unpacked
from softstep.cli.data.source import Source
from softstep.cli.data.table import Table, some
from softstep.cli.errors import InputError
from softstep.cli.extras import demo_module
from softstep.cli.files.npy import Arrays, DamagedError, read_alone, read_members

# The names of features and labels, of rows to train on and of rows to test on.
FEATURES = (
    *("x", "data", "features", "x_train", "train_x", "train_images", "images", "train_data"),
    *("attr", "attr_matrix", "arr_0"),
)
LABELS = (
    *("y", "target", "targets", "label", "labels", "y_train", "train_y", "train_labels", "arr_1"),
)
TEST_FEATURES = ("x_test", "test_x", "test_images", "test_data")
TEST_LABELS = ("y_test", "test_y", "test_labels")
# What scipy.sparse.save_npz writes, alone or after a name.
SPARSE = re.compile(r"(.*?)[._]?(data|indices|indptr|shape)")


def read_arrays(source: Source) -> Table:
    """Read an .npz archive of features and labels, or an .npy file of a table."""
    arrays = _load(source)
    if "" in arrays:
        return _of_matrix(source, arrays[""])
    known = _with_dense(source, arrays)
    features = _pick(known, FEATURES)
    if features is None:
        raise InputError(
            f"{source.name}: expected an array X (rows, features), got arrays: "
            f"{some(list(arrays)) or 'none'}"
        )
    matrix = _matrix(source, features, known[features])
    label_name = _pick(known, LABELS)
    labels = (
        None if label_name is None else _labels(source, label_name, known[label_name], len(matrix))
    )
    notes = [
        f"features in {features}, " + (f"labels in {label_name}" if label_name else "no labels")
    ]
    test = _pick(known, TEST_FEATURES), _pick(known, TEST_LABELS)
    held_out = 0
    if features not in ("x", "X") and test[0] and test[1] and labels is not None:
        more = _matrix(source, test[0], known[test[0]])
        if more.shape[1] == matrix.shape[1]:
            held_out = len(more)
            labels = np.concatenate([labels, _labels(source, test[1], known[test[1]], held_out)])
            matrix = np.concatenate([matrix, more])
            notes.append(f"{test[0]} and {test[1]} are held out")
    columns = _columns(matrix)
    label = None if labels is None else _column(label_name or "y", labels)
    return Table(source.name, columns, False, tuple(notes), label, True, held_out)


def _load(source: Source) -> Arrays:
    """Return the arrays by name; that of an .npy file is called ""."""
    try:
        with source.open_as_it_is() as file:
            if file.read(6) == b"\x93NUMPY":
                size = file.seek(0, io.SEEK_END)
                file.seek(0)
                return {"": read_alone(file, size, most_unpacked())}
            if not zipfile.is_zipfile(file):
                raise InputError(
                    f"{source.name}: expected an .npz archive as numpy.savez writes it"
                )
            arrays, names = read_members(file, most_unpacked(), _is_used)
            return arrays or {name: np.empty(0) for name in names}
    except OSError as error:
        raise InputError(f"{source.name}: cannot be read: {error.strerror or error}") from error
    except DamagedError as error:
        raise InputError(f"{source.name}: cannot be read as .npz: {error}") from error


def _is_used(name: str) -> bool:
    """Return whether a member is read: an archive may have more, and of other kinds."""
    known = {*FEATURES, *LABELS, *TEST_FEATURES, *TEST_LABELS, "format"}
    return name.lower() in known or SPARSE.fullmatch(name) is not None


def _pick(arrays: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """Return the first of ``names`` that is there, as it is spelled there."""
    spelled = {name.lower(): name for name in arrays}
    return next((spelled[name] for name in names if name in spelled), None)


def _with_dense(source: Source, arrays: Arrays) -> Arrays:
    """Return the arrays with each that was saved as a sparse one, in four parts, made dense."""
    result, groups = dict(arrays), dict[str, dict[str, str]]()
    for name in arrays:
        if match := SPARSE.fullmatch(name):
            groups.setdefault(match[1] or "X", {})[match[2]] = name
    for whole, names in groups.items():
        if len(names) == 4 and arrays[names["shape"]].shape == (2,):
            parts = {part: result.pop(name) for part, name in names.items()}
            by_column = arrays.get("format", np.array("csr")).tolist() in (b"csc", "csc")
            try:
                result[whole] = _dense(by_column, **parts)
            except (ValueError, TypeError, OverflowError) as error:
                raise InputError(
                    f"{source.name}: {whole}: cannot be read as a sparse array: {error}"
                ) from error
    return result


def _dense(
    by_column: bool,
    data: NDArray[Any],
    indices: NDArray[Any],
    indptr: NDArray[Any],
    shape: NDArray[Any],
) -> NDArray[Any]:
    """Return the array of four parts; TypeError or ValueError if they are not of one."""
    sparse = demo_module("scipy.sparse", "scipy", "a sparse array")
    rows, columns = map(operator.index, shape.tolist())
    size, most = rows * columns * data.dtype.itemsize, most_unpacked()
    if size > most:
        raise ValueError(f"it would take {size} bytes, expected {most} at most")
    if indices.dtype.kind not in "iu" or indptr.dtype.kind not in "iu":
        raise ValueError(f"expected whole indices, got dtypes {indices.dtype}, {indptr.dtype}")
    kind = sparse.csc_matrix if by_column else sparse.csr_matrix
    matrix = kind((data, indices, indptr), shape=(rows, columns))
    # SciPy writes wherever an index says, unless it is asked to look.
    matrix.check_format(full_check=True)
    return np.asarray(matrix.toarray())


def _matrix(source: Source, name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return features (rows, features); images are rows of pixels."""
    if array.ndim < 2 or 0 in array.shape:
        raise InputError(
            f"{source.name}: {name}: expected shape (rows, features), got {array.shape}"
        )
    if array.dtype.kind not in "fiub":
        raise InputError(f"{source.name}: {name}: expected numbers, got dtype {array.dtype}")
    if array.dtype.kind == "b":
        array = array.view(np.uint8)  # NumPy does not subtract truth values
    return array.reshape(len(array), -1)


def _labels(source: Source, name: str, array: NDArray[Any], rows: int) -> NDArray[Any]:
    """Return a label per row; one-hot rows are the positions of their ones."""
    if array.shape == (rows, 1):
        array = array[:, 0]
    if array.ndim == 2 and len(array) == rows and array.dtype.kind in "fiub":
        ones = np.asarray(array, np.float64)
        if ((ones == 0) | (ones == 1)).all() and (ones.sum(axis=1) == 1).all():
            array = ones.argmax(axis=1)
    if array.shape != (rows,):
        raise InputError(f"{source.name}: {name}: expected shape ({rows},), got {array.shape}")
    if array.dtype.kind not in "fiubUS":
        raise InputError(
            f"{source.name}: {name}: expected numbers or text, got dtype {array.dtype}"
        )
    return array


def _column(name: str, values: NDArray[Any]) -> Column:
    if values.dtype.kind == "S":
        return Texts.of(name, [value.decode(errors="replace") for value in values.tolist()])
    if values.dtype.kind == "U":
        return Texts.of(name, values.tolist())
    # float64 would merge whole numbers beyond 2^53.
    whole = values.dtype.kind in "iu"
    return Numbers(name, values if whole else values.astype(np.float64, copy=False))


def _columns(matrix: NDArray[Any]) -> tuple[Column, ...]:
    # Column after column: a view of one would be read a cache line a number.
    by_column = np.ascontiguousarray(matrix.T)
    return tuple(Numbers(str(position), values) for position, values in enumerate(by_column))


def _of_matrix(source: Source, array: NDArray[Any]) -> Table:
    return Table(source.name, _columns(_matrix(source, "the array", array)), False)
