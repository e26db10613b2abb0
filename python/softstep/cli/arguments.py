"""The argument parser of the subcommands and the types of their values."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any, NoReturn

# The value of an option that is found from the data.
AUTO = "auto"


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the layout of the epilog; shows the defaults that say something."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or isinstance(action.default, bool) or not action.option_strings:
            return action.help
        default = action.default
        text = " ".join(map(str, default)) if isinstance(default, list) else str(default)
        silent = text in ("", argparse.SUPPRESS)
        return action.help if silent else f"{action.help} (default: {text})"


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` whose errors are one line, without the usage in front."""

    def __init__(
        self,
        prog: str,
        usage: str | None = None,
        description: str | None = None,
        epilog: str | None = None,
    ) -> None:
        super().__init__(
            prog=prog,
            usage=usage,
            description=description,
            epilog=epilog,
            formatter_class=_Formatter,
            # A prefix that works today would break when an option is added.
            allow_abbrev=False,
        )

    def _print_message(self, message: str, file: Any = None) -> None:
        from softstep.distributed.engines.launch import launched_rank

        # Of many processes one speaks.
        if not launched_rank():
            super()._print_message(message, file)

    def error(self, message: str) -> NoReturn:
        """Print ``message`` on stderr and exit with status 2."""
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def whole(minimum: int, maximum: int = 2**31 - 1) -> Callable[[str], int]:
    """Return the type of a whole number from ``minimum`` to ``maximum``."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if not minimum <= value <= maximum:
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {minimum} to {maximum}, got {text!r}"
            )
        return value

    return convert


def real(what: str, allowed: Callable[[float], bool]) -> Callable[[str], float]:
    """Return the type of a finite number that is ``allowed``; ``what`` describes it."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and allowed(value)):
            raise argparse.ArgumentTypeError(f"expected {what}, got {text!r}")
        return value

    return convert


def automatic(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return the type of what ``convert`` reads, or None for "auto": found from the data."""
    return lambda text: None if text == AUTO else convert(text)


POSITIVE = real("a number > 0", lambda value: value > 0)
NOT_NEGATIVE = real("a number >= 0", lambda value: value >= 0)
BELOW_ONE = real("a number from 0 to below 1", lambda value: 0 <= value < 1)
FRACTION = real("a number between 0 and 1", lambda value: 0 < value < 1)
