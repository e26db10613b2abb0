"""What happens between the steps of a training: progress, Ctrl-C, checkpoints."""

from __future__ import annotations

import time

from softstep.cli.checkpoint import Checkpoint
from softstep.cli.interrupts import Interrupt, interrupts_ignored
from softstep.cli.progress import Progress
from softstep.cli.training import Control, Trainer


class Watch(Control):
    """Ends the training with KeyboardInterrupt after the step in which Ctrl-C was pressed."""

    def __init__(
        self, trainer: Trainer, checkpoint: Checkpoint, progress: Progress, interrupt: Interrupt
    ) -> None:
        self._trainer = trainer
        self._checkpoint = checkpoint
        self._progress = progress
        self._interrupt = interrupt

    def after_step(self, rows: int) -> None:
        """Write a checkpoint if it is time for one, or if it is the last chance."""
        self._progress.rows(rows)
        if self._interrupt.requested:
            with interrupts_ignored():
                self._save()
            raise KeyboardInterrupt
        if self._checkpoint.due():
            self._save()

    def _save(self) -> None:
        started = time.monotonic()
        self._checkpoint.save(self._trainer.state(), started)
