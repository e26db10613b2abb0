"""A training of the language model as it is watched: progress, signals and checkpoints."""

from __future__ import annotations

import time

from softstep.cli.errors import Diverged, RunError
from softstep.cli.files.checkpoint import Checkpoint
from softstep.cli.language_model.training import Trainer
from softstep.cli.process.interrupts import Interrupted, interrupt_noted, interrupts_ignored
from softstep.training.progress import Progress, open_progress


def train(trainer: Trainer, checkpoint: Checkpoint, quiet: bool) -> Interrupted | None:
    """Train until the end, or until a signal comes, which is returned after the step."""
    steps, rows = trainer.settings.steps, trainer.rows
    parts, done = min(trainer.settings.checkpoints, steps), trainer.optimiser.steps
    progress = open_progress("checkpoint", parts, steps * rows, quiet, done * rows)
    ended: Interrupted | None = None
    with interrupt_noted(once=True) as interrupt:

        def after_step(count: int) -> None:
            nonlocal ended
            progress.rows(count)
            if interrupt.requested:
                with interrupts_ignored():
                    _save(trainer, checkpoint, progress)
                ended = Interrupted(interrupt.number)
                raise ended
            if checkpoint.due():
                _save(trainer, checkpoint, progress)

        try:
            for part in trainer.checkpoints(after_step):
                progress.part(len(trainer.history), str(part), part.rows_per_second)
        except Interrupted as error:
            # A second signal comes within a step: nothing of it can be kept.
            if error is not ended:
                raise
        except Diverged:
            checkpoint.remove()
            raise
        finally:
            progress.close()
    return ended


def _save(trainer: Trainer, checkpoint: Checkpoint, progress: Progress) -> None:
    started = time.monotonic()
    try:
        checkpoint.save(trainer.state(), started)
    except RunError as error:
        progress.note(f"softstep lm: warning: {error}; the training goes on")
