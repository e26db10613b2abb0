"""Errors that end a command with one line and no traceback."""

from __future__ import annotations


class CommandError(Exception):
    """What went wrong, in one line; ``status`` is the exit status."""

    status = 1


class InputError(CommandError):
    """What the user gave cannot be used: nothing has been started."""

    status = 2


class RunError(CommandError):
    """The input was fine, but the work could not be finished."""


class Diverged(RunError):
    """The training led nowhere, and would again from its checkpoint."""


class OtherRank(CommandError):
    """Another rank failed, and says why."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status
