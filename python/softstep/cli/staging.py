"""Files that appear under their names only when they are complete."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from softstep.cli.errors import InputError


@contextmanager
def staging_folder(parent: Path) -> Iterator[Path]:
    """Yield a new hidden folder in ``parent``, from which ``os.replace`` is a rename."""
    try:
        staging = Path(tempfile.mkdtemp(prefix=".softstep-", dir=parent))
    except OSError as error:
        raise InputError(
            f"--output: {parent}: cannot be written to: {error.strerror or error}"
        ) from error
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)
