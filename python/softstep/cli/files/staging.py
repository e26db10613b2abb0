"""Files that appear under their names only when they are complete."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from softstep.cli.errors import InputError, RunError
from softstep.cli.process.interrupts import Interrupted, interrupt_noted

PREFIX = ".softstep-staging-"
# Seconds to wait for one's turn, which takes another softstep milliseconds.
PATIENCE = 10.0
# Seconds that a process which was killed may still be there: a launcher ends before its ranks.
DYING = 2.0
# Whatever has a staging folder's name: no link is followed, no pipe is waited for.
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


@contextmanager
def staging_folder(parent: Path, *, alone: bool = False) -> Iterator[Path]:
    """Yield a new hidden folder in ``parent``, from which ``os.replace`` is a rename.

    Those of processes that were killed are removed. ``alone``: refuse a ``parent`` in which another
    process has one.
    """
    staging, lock = None, -1
    try:
        # Whatever comes after the folder is there, it is known to be.
        with _undisturbed():
            try:
                staging, lock = _new_folder(parent, alone)
            except OSError as error:
                raise InputError(
                    f"--output: {parent}: cannot be written to: {error.strerror or error}"
                ) from error
        yield staging
    finally:
        if staging is not None:
            with _undisturbed():
                shutil.rmtree(staging, ignore_errors=True)
                os.close(lock)
                # Again: a process that had just been killed may have held its lock at the start.
                with suppress(OSError, InputError):
                    turn = os.open(parent, os.O_RDONLY)
                    try:
                        _remove_abandoned(parent, turn)
                    finally:
                        os.close(turn)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Raise an interrupt at the end of what is done, unless a second one comes."""
    with interrupt_noted(once=True) as interrupt:
        yield
    if interrupt.requested:
        raise Interrupted(interrupt.number)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Name ``path`` in the error of a write that fails, as on a full disk."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror or error}") from error


def _new_folder(parent: Path, alone: bool) -> tuple[Path, int]:
    """Create a folder, locked for as long as the descriptor is open: its owner lives."""
    turn = os.open(parent, os.O_RDONLY)
    try:
        deadline = time.monotonic() + DYING
        others = _remove_abandoned(parent, turn)
        while alone and others and time.monotonic() < deadline:
            time.sleep(0.05)
            others = _remove_abandoned(parent, turn)
        if alone and others:
            raise InputError(
                f"--output: {parent}: another softstep is writing there: wait for its end, or "
                f"choose another folder"
            )
        staging = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        lock = os.open(staging, FOLDER)
        _locked(lock)
        return staging, lock
    finally:
        os.close(turn)


def _remove_abandoned(parent: Path, turn: int) -> bool:
    """Return whether a folder is left, of a process that lives."""
    # One at a time: nobody finds a folder that is not locked yet.
    if not _took_turn(parent, turn):
        return False
    others = False
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):
            lock = os.open(folder, FOLDER)
            try:
                if _locked(lock):
                    shutil.rmtree(folder, ignore_errors=True)
                else:
                    others = True
            finally:
                os.close(lock)
    return others


def _took_turn(parent: Path, turn: int) -> bool:
    """Lock ``parent``; return whether that can be done: some network file systems have no locks."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > end:
                raise InputError(
                    f"--output: {parent}: another process holds its lock: wait for its end, or "
                    f"choose another folder"
                ) from error
            time.sleep(0.01)
        except OSError:
            return False
        else:
            return True


def _locked(descriptor: int) -> bool:
    """Return whether this process has the lock now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def replace(file: Path, target: Path) -> None:
    """Move ``file`` to ``target``, which has all of the old or of the new content at any time.

    Also after a power failure: the content reaches the disk before the name does.
    """
    _reach_disk(file)
    os.replace(file, target)
    # Not every network file system can do it for a folder.
    with suppress(OSError):
        _reach_disk(target.parent)


def _reach_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
