"""The checkpoint of an unfinished training: an .npz archive of all that going on from it needs."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softstep.cli.arguments import AUTO
from softstep.cli.errors import InputError, RunError
from softstep.cli.files.archive import array_of, json_of, read_archive
from softstep.cli.files.npy import Arrays
from softstep.cli.files.staging import replace, writing

FORMATS = {"train": "softstep-mlp-checkpoint-1", "lm": "softstep-lm-checkpoint-1"}
CHECKPOINT = "checkpoint.npz"
# A checkpoint is written when this many times the last one's cost has gone by: 1 % of the time.
PATIENCE = 99


@dataclass(frozen=True)
class Identity:
    """What a training must have in common with the checkpoint that it goes on from."""

    settings: dict[str, Any]
    source: str
    digest: str

    @classmethod
    def of(
        cls,
        settings: dict[str, Any],
        source: str,
        texts: list[Any],
        arrays: Iterable[NDArray[Any]],
    ) -> Identity:
        """Take the fingerprint of the data as they are trained on: the file may have moved."""
        digest = hashlib.sha256(json.dumps(texts).encode())
        for array in arrays:
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return cls(settings, source, digest.hexdigest())


class Checkpoint:
    """The file in the output folder ``path``; at most one in ``seconds``.

    ``command`` is whose training it is of.
    """

    def __init__(
        self, path: Path, staging: Path, identity: Identity, seconds: float, command: str
    ) -> None:
        self._command = command
        self.path = path / CHECKPOINT
        self._staged = staging / CHECKPOINT
        self._identity = identity
        self._seconds = self._wait = seconds
        self._last = time.monotonic()
        # Whether the file is of this training.
        self._own = False

    def refuse_leftover(self) -> None:
        """Refuse to start anew where an unfinished training, or another file, would be lost."""
        if not os.path.lexists(self.path):
            return
        try:
            self._read()
        except InputError as error:
            raise InputError(
                f"--output: expected a folder without a {CHECKPOINT} of other origin: {error}"
            ) from error
        raise InputError(
            f"--output: {self.path} is of a training that was not finished: go on from it with "
            f"--resume, or remove it to start anew"
        )

    def load(self) -> Arrays:
        """Return what `save` wrote, if it is of the same settings and data."""
        if not os.path.lexists(self.path):
            raise InputError(f"--resume: there is no {self.path}: start without --resume")
        try:
            arrays = self._read()
            identity = Identity(**json_of(arrays, "identity"))
        except InputError as error:
            raise InputError(f"--resume: {error}: remove it to start anew") from error
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(f"--resume: {self.path}: a part is missing: {error}") from error
        self._check(identity)
        self._own = True
        return arrays

    def _read(self) -> Arrays:
        form = FORMATS[self._command]
        return read_archive(self.path, form, f"a checkpoint that `softstep {self._command}` wrote")

    def _check(self, saved: Identity) -> None:
        """Refuse other settings, naming each, and other data."""
        differing = [
            f"{_option(name, saved.settings.get(name))}, not {_option(name, value)}"
            for name, value in self._identity.settings.items()
            if saved.settings.get(name) != value
        ]
        if differing:
            raise InputError(
                f"--resume: {self.path} is of a training with {'; '.join(differing)}: expected "
                f"the same settings, or another --output"
            )
        if saved.digest != self._identity.digest:
            raise InputError(
                f"--resume: {self.path} is of a training on other data ({saved.source}), "
                f"got {self._identity.source}: expected the same rows in the same order"
            )

    def due(self) -> bool:
        """Return whether the last one is so long ago that the next costs little."""
        return time.monotonic() - self._last >= self._wait

    def save(self, arrays: Arrays, started: float) -> None:
        """Write ``arrays``, which were collected since ``started``, in place of the last one.

        RunError if that fails: the last one stays, or what another program wrote there meanwhile.
        """
        if not self._own and os.path.lexists(self.path):
            raise RunError(f"{self.path}: another program has written it meanwhile")
        archive: dict[str, Any] = {
            "format": np.array(FORMATS[self._command]),
            "identity": np.array(json.dumps(asdict(self._identity))),
            **arrays,
        }
        try:
            with writing(self.path):
                with open(self._staged, "wb") as file:
                    np.savez(file, **archive)
                replace(self._staged, self.path)
            self._own = True
        finally:
            # Staged files are published as results.
            self._staged.unlink(missing_ok=True)
            self._last = time.monotonic()
            self._wait = max(self._seconds, PATIENCE * (self._last - started))

    def remove(self) -> None:
        """Remove the file: the training is finished, or led nowhere."""
        if self._own:
            self.path.unlink(missing_ok=True)


@contextmanager
def restoring(path: Path) -> Iterator[None]:
    """Name the checkpoint ``path`` in the error of one that has other parts than expected."""
    try:
        yield
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise InputError(f"--resume: {path}: cannot be used: {error}") from error


def table_of(records: Sequence[Any], kind: type[Any]) -> NDArray[np.float64]:
    """Return a row for each record, a dataclass of numbers."""
    rows = [astuple(record) for record in records]
    return np.array(rows, np.float64).reshape(len(rows), len(fields(kind)))


def rows_of(arrays: Arrays, name: str, kind: type[Any]) -> list[list[float]]:
    """Return the rows of such a table; KeyError or ValueError if there is none of that name."""
    rows: list[list[float]] = array_of(arrays, name, np.float64, (None, len(fields(kind)))).tolist()
    return rows


def _option(name: str, value: Any) -> str:
    """Return a setting as the command line has it."""
    values = value if isinstance(value, list) else [AUTO if value is None else value]
    return " ".join([f"--{name.replace('_', '-')}", *map(str, values)])
