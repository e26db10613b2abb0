"""Standard output as the commands write to it: no text ends one, and an error names it."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from softstep.cli.errors import RunError

ESCAPED = "backslashreplace"


@contextmanager
def texts_escaped() -> Iterator[None]:
    """Write what is not in the encoding of stdout in escapes, as stderr does."""
    stdout = sys.stdout
    if not isinstance(stdout, io.TextIOWrapper) or stdout.errors != "strict":
        yield
        return
    stdout.reconfigure(errors=ESCAPED)
    try:
        yield
    finally:
        stdout.reconfigure(errors="strict")


@contextmanager
def writing_stdout() -> Iterator[None]:
    """Name stdout in the error of a write to it that fails, as on a full disk."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        # The interpreter's flush at exit is not to fail as well.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise RunError(f"stdout: cannot be written: {error.strerror or error}") from error
