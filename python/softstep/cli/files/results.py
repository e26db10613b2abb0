"""The output folder of a training: a result appears in it whole, or not at all."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from softstep.cli.errors import InputError
from softstep.cli.files.staging import replace, staging_folder

WEIGHTS, HISTORY, PICTURE = "weights.npz", "history.csv", "training.png"


@dataclass(frozen=True)
class OutputFolder:
    """Files are written to ``staging``; ``publish`` moves them to ``path``."""

    path: Path
    staging: Path
    has_result: bool

    def publish(self, *, interrupted: bool = False) -> list[Path]:
        """Move the staged files to their names and return these.

        They replace an earlier result as a whole: no picture of another run stays. An interrupted
        run does not replace a result: its files are put beside it, as they are beside files of
        other programs that have appeared meanwhile.
        """
        # The weights first: they tell a result from other files, also where this is broken off.
        files = sorted(self.staging.iterdir(), key=lambda file: file.name != WEIGHTS)
        prefix = ""
        if (interrupted and self.has_result) or self._appeared(files):
            prefix = "interrupted-" if interrupted else "finished-"
        published = []
        for file in files:
            target = self.path / (prefix + file.name)
            replace(file, target)
            published.append(target)
        if self.has_result and not prefix and self.path / PICTURE not in published:
            (self.path / PICTURE).unlink(missing_ok=True)
        return sorted(published)

    def _appeared(self, files: Iterable[Path]) -> bool:
        """Return whether there are files of these names, which there were not at the start."""
        return not self.has_result and any(os.path.lexists(self.path / file.name) for file in files)


@contextmanager
def output_folder(path: Path, is_weights: Callable[[Path], bool]) -> Iterator[OutputFolder]:
    """Yield ``path``, created if need be, and removed again if nothing is published.

    ``is_weights`` tells the weights file of an earlier result from other files.
    """
    has_result = _has_result(path, is_weights)
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"--output: {path}: cannot be created: {reason}") from error
    try:
        with staging_folder(path, alone=True) as staging:
            yield OutputFolder(path, staging, has_result)
    finally:
        for folder in missing:
            # Removes it only if it is empty.
            with suppress(OSError):
                folder.rmdir()


def _has_result(path: Path, is_weights: Callable[[Path], bool]) -> bool:
    """Return whether an earlier result is there; refuse other files of the same names."""
    if is_weights(path / WEIGHTS):
        return True
    for name in (WEIGHTS, HISTORY, PICTURE):
        if os.path.lexists(path / name):
            raise InputError(
                f"--output: expected a folder without a {name} of other origin, got "
                f"{path / name}: choose another folder"
            )
    return False


def write_history(path: Path, kind: type[Any], history: Sequence[Any]) -> None:
    """Write a line per record of the dataclass ``kind``, under a header of its fields' names.

    NaN, a number that there is not, is an empty cell.
    """
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [column.name for column in fields(kind)])
        writer.writeheader()
        for record in history:
            writer.writerow({name: _cell(value) for name, value in asdict(record).items()})


def _cell(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return "" if math.isnan(value) else f"{value:.6g}"


def listed(files: Sequence[Path]) -> str:
    """Return the names of ``files`` for a message."""
    return ", ".join(map(str, files))
