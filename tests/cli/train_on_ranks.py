"""`softstep train` on the ranks that this was started on: see test_cli_distributed.py."""

import os
import signal
import sys
import time
from collections.abc import Callable
from unittest import mock

from softstep.cli import main
from softstep.cli.classifier.training import Control, Trainer
from softstep.cli.data.labels import Indices
from softstep.distributed.engines.launch import launched_rank

# 96 rows to train: 5 batches of 20, the last of 16.
WORDS = ["train", "--data", "blobs.npz", "--hidden", "8", "--epochs", "6", "--batch-size", "20"]
LAST = launched_rank() == 1


def train(*words: str, at: int = 0, do: Callable[[], None] = lambda: None) -> int:
    """Return the exit status; before step `at` the last rank does what `do` does."""
    real, left = Trainer._step, [at]

    def step(self: Trainer, rows: Indices, control: Control) -> tuple[bool, bool]:
        left[0] -= 1
        if left[0] == 0 and LAST:
            do()
        return real(self, rows, control)

    with mock.patch.object(Trainer, "_step", step):
        try:
            return main([*WORDS, *words])
        except SystemExit as end:
            return int(end.code)


def fail() -> None:
    raise MemoryError("the last rank has none")


def everything() -> None:
    """Train, stop, go on, be refused; end with a rank that fails."""
    # Started in the background of a shell, Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    assert train("--output", "many") == 0
    ctrl_c = lambda: os.kill(os.getpid(), signal.SIGINT)  # noqa: E731
    assert train("--quiet", "--output", "stopped", at=13, do=ctrl_c) == 130
    assert LAST or os.path.exists("stopped/checkpoint.npz")
    assert train("--quiet", "--output", "stopped", "--resume") == 0
    assert train("--quiet", "--output", "of-one", "--resume") == 0
    assert train("--data", "nowhere.npz") == 2
    assert train("--data", "missing.npz" if LAST else "blobs.npz") == 2
    assert train("--data", "other.npz" if LAST else "blobs.npz") == 2
    assert train("--seed", "1" if LAST else "2") == 2
    assert train("--resume") == 2
    assert train("--lr", "-1") == 2
    words = "--quiet", "--lr", "1e6", "--weight-decay", "0"
    assert train(*words, "--output", "diverged") == 1
    train("--quiet", "--output", "left", "--checkpoint-every", "1e-4", at=13, do=fail)
    raise AssertionError("a rank that failed ends all")


def left_by_a_rank(how: str) -> None:
    do = {
        "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "late": lambda: time.sleep(1000),
    }[how]
    words = "--output", how, "--timeout", "1", "--checkpoint-every", "1e-4"
    train("--quiet", *words, at=13, do=do)


if __name__ == "__main__":
    (task,) = sys.argv[1:]
    everything() if task == "everything" else left_by_a_rank(task)
