"""Run `softstep`, and let fate strike it: at a file operation in its folder, or at a moment.

    python -m tests.campaigns.stroke '{"folder": "run", "act": "kill", "operation": 7}' train ...

Prints on stderr that it is struck, and how long it was if it lives on.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from softstep.cli import main
from softstep.cli.files import checkpoint
from softstep.distributed.engines.launch import launched_rank

STRUCK = "struck: "
# Followed by the file operations and the seconds of a run.
MEASURED = "measured: "
# What Python is about to do to a file, as `sys.addaudithook` is told.
OPERATIONS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.listdir", "os.scandir"}
APPEARED = "a file has appeared"
FOREIGN = b"of another program\n"
FILLER = ".filler"


@dataclass(frozen=True)
class Stroke:
    """What happens to rank ``rank`` before its file operation, from 1, or after so many seconds."""

    folder: str
    act: str = "nothing"
    operation: int = 0
    seconds: float = 0.0
    rank: int = 0

    def words(self) -> list[str]:
        """Return the start of the command line of this program."""
        return ["-m", "tests.campaigns.stroke", json.dumps(asdict(self))]


def _signalled(number: int) -> None:
    os.kill(os.getpid(), number)


def _fill(folder: Path) -> None:
    """Take what is left of the disk."""
    descriptor = os.open(folder.parent / FILLER, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for size in (1 << 16, 1 << 12, 1):
        try:
            while True:
                os.write(descriptor, bytes(size))
        except OSError:
            pass
    os.close(descriptor)


def _lock(folder: Path) -> None:
    """Make the disk read-only, as soon as no file on it is being written."""
    for _ in range(100):
        if not subprocess.call(
            ["mount", "-o", "remount,ro", folder.parent], stderr=subprocess.DEVNULL
        ):
            break
        time.sleep(0.001)


def _appear(folder: Path, name: str) -> None:
    """Let another program write a file, unless one is there."""
    folder.mkdir(exist_ok=True)
    try:
        with open(folder / name, "xb") as file:
            file.write(FOREIGN)
        print(APPEARED, file=sys.stderr, flush=True)
    except FileExistsError:
        pass


def strike(stroke: Stroke) -> None:
    """Do what is to be done; does not return from a death."""
    folder = Path(stroke.folder).absolute()
    print(f"{STRUCK}{stroke.act}", file=sys.stderr, flush=True)
    if stroke.act in ("SIGKILL", "SIGTERM", "SIGINT"):
        _signalled(signal.Signals[stroke.act])
    elif stroke.act == "full disk":
        _fill(folder)
    elif stroke.act == "read-only folder":
        _lock(folder)
    elif stroke.act.startswith("file appears: "):
        _appear(folder, stroke.act.removeprefix("file appears: "))


class Counter:
    """Counts the file operations at and below the folder, and strikes at one of them."""

    def __init__(self, stroke: Stroke) -> None:
        self.count = 0
        self._stroke = stroke
        self._folder = str(Path(stroke.folder).absolute())
        self._striking = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in OPERATIONS or self._striking or not self._is_ours(arguments[0]):
            return
        self.count += 1
        if self.count == self._stroke.operation:
            self._striking = True
            try:
                strike(self._stroke)
            finally:
                self._striking = False

    def _is_ours(self, path: object) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        return os.path.abspath(os.fsdecode(path)).startswith(self._folder)


def run(stroke: Stroke, words: list[str]) -> int:
    """Return the exit status of the command."""
    counter = Counter(stroke)
    checkpoint.PATIENCE = 0
    # As a batch system starts it: a shell's background has Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if (launched_rank() or 0) == stroke.rank:
        if stroke.operation:
            sys.addaudithook(counter)
        elif stroke.seconds:
            timer = threading.Timer(stroke.seconds, strike, [stroke])
            timer.daemon = True
            timer.start()
        else:
            sys.addaudithook(counter)
    started = time.monotonic()
    try:
        return main(words)
    finally:
        print(f"{MEASURED}{counter.count} {time.monotonic() - started}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(run(Stroke(**json.loads(sys.argv[1])), sys.argv[2:]))
