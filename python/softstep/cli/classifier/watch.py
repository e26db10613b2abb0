"""A training as it is watched: progress, Ctrl-C and checkpoints between its steps."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from signal import SIGINT

from softstep.cli.classifier.records import Epoch
from softstep.cli.classifier.training import Control, Trainer
from softstep.cli.errors import Diverged, RunError
from softstep.cli.files.checkpoint import Checkpoint
from softstep.cli.process.interrupts import Interrupt, interrupt_noted, interrupts_ignored
from softstep.training.network import Floats
from softstep.training.progress import Progress, open_progress


@dataclass(frozen=True)
class Kept:
    """The state at the end of an epoch, replaced as one so that Ctrl-C finds it consistent."""

    history: tuple[Epoch, ...] = ()
    # Of the best epoch so far, if there are rows to tell it by; else of the last.
    weights: tuple[Floats, ...] = ()
    biases: tuple[Floats, ...] = ()
    finished: bool = False
    # What ended it, if it is not finished.
    signal: int = SIGINT


class Watch(Control):
    """Ends the training with KeyboardInterrupt after the step in which Ctrl-C was pressed.

    Rank 0 has the ``checkpoint``; the others help to collect what it writes.
    """

    def __init__(
        self,
        trainer: Trainer,
        checkpoint: Checkpoint | None,
        progress: Progress,
        interrupt: Interrupt,
    ) -> None:
        self._trainer = trainer
        self._checkpoint = checkpoint
        self._progress = progress
        self._interrupt = interrupt
        self._failed = False

    def wishes(self) -> tuple[bool, bool]:
        """Tell of Ctrl-C, and whether it is time for a checkpoint."""
        return self._interrupt.requested, self._checkpoint is not None and self._checkpoint.due()

    def after_step(self, rows: int, stop: bool, save: bool) -> None:
        """Show the progress; save the state when it is time, or the last chance."""
        self._progress.rows(rows)
        if stop:
            with interrupts_ignored():
                self._save()
            raise KeyboardInterrupt
        if save:
            self._save()

    def _save(self) -> None:
        started = time.monotonic()
        state = self._trainer.state()
        if self._checkpoint is None:
            return
        try:
            self._checkpoint.save(state, started)
        except RunError as error:
            # Once: a full disk is full for long.
            if not self._failed:
                self._progress.note(f"softstep train: warning: {error}; the training goes on")
            self._failed = True


def train(trainer: Trainer, checkpoint: Checkpoint | None, quiet: bool) -> Kept:
    """Train until the end or Ctrl-C; return, on rank 0, the state after the last epoch here."""
    epochs, rows, at = trainer.plan.epochs, len(trainer.samples.rows), trainer.position
    done = (at.epoch - 1) * rows + at.rows
    kept = Kept()
    # Many ranks stop at the same step only: no second Ctrl-C stops one of them elsewhere.
    with interrupt_noted(once=trainer.comm.size == 1) as interrupt:
        silent = quiet or checkpoint is None
        progress = open_progress("epoch", epochs, epochs * rows, silent, done)
        try:
            for epoch in trainer.epochs(Watch(trainer, checkpoint, progress, interrupt)):
                kept = _kept(trainer) if checkpoint is not None else kept
                kept = replace(kept, finished=trainer.finished)
                progress.part(epoch.epoch, str(epoch), epoch.rows_per_second)
        except KeyboardInterrupt:
            pass
        except Diverged:
            if checkpoint is not None:
                checkpoint.remove()
            raise
        finally:
            progress.close()
    return replace(kept, signal=interrupt.number)


def _kept(trainer: Trainer) -> Kept:
    parameters, layers = trainer.kept(), len(trainer.weights)
    return Kept(tuple(trainer.history), tuple(parameters[:layers]), tuple(parameters[layers:]))
