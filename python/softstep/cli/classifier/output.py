"""What `softstep train` prints and writes."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, dataclass

from softstep.cli.classifier.plot import plot_training
from softstep.cli.classifier.records import Epoch, Settings
from softstep.cli.classifier.report import Counts, accuracy, per_class
from softstep.cli.classifier.training import Trainer
from softstep.cli.classifier.watch import Kept
from softstep.cli.classifier.weights import Weights
from softstep.cli.data.load import Data
from softstep.cli.data.split import Problem
from softstep.cli.errors import RunError
from softstep.cli.files.checkpoint import Checkpoint
from softstep.cli.files.figure import drawn
from softstep.cli.files.results import (
    HISTORY,
    PICTURE,
    WEIGHTS,
    OutputFolder,
    listed,
    write_history,
)
from softstep.cli.files.staging import writing
from softstep.cli.process.interrupts import Interrupted, interrupts_ignored


@dataclass(frozen=True)
class Output:
    """The output of one training, on the one rank that has any."""

    args: argparse.Namespace
    settings: Settings
    data: Data
    folder: OutputFolder
    checkpoint: Checkpoint

    @property
    def problem(self) -> Problem:
        """What is trained on."""
        return self.data.problem

    def announce(self, trainer: Trainer) -> None:
        """Print what is going to be done."""
        if not self.args.quiet:
            print("\n".join(self.data.notes), flush=True)
        for warning in self.data.warnings:
            self._warn(warning)
        if self.args.quiet:
            return
        train, test = len(self.problem.train), len(self.problem.test)
        ranks = f"; {trainer.comm.size} ranks" if trainer.comm.size > 1 else ""
        print(f"{self._title(trainer)}; {train} rows to train, {test} held out{ranks}", flush=True)
        if self.args.resume:
            print(f"goes on in epoch {trainer.position.epoch}", flush=True)

    def interrupted(self, kept: Kept, trainer: Trainer) -> Interrupted:
        """Write the epochs that are finished; return what to raise."""
        path, done = self.checkpoint.path, len(kept.history)
        resume = f"--resume goes on from {path}" if path.exists() else ""
        if done == 0:
            place = f"in epoch {trainer.position.epoch}"
            return Interrupted(kept.signal, f"{place}: {resume or 'nothing to keep yet'}")
        # What is kept must not be lost to a second Ctrl-C.
        with interrupts_ignored():
            self._stage(kept, trainer)
            files = listed(self.folder.publish(interrupted=True))
        place = f"in epoch {done + 1}: the {done} before it are in {files}"
        return Interrupted(kept.signal, f"{place}; {resume}" if resume else place)

    def finished(self, kept: Kept, trainer: Trainer, loss: float, confusion: Counts) -> None:
        """Write and print the result; ``loss`` is the log loss of the rows to test on."""
        with interrupts_ignored():
            try:
                self._stage(kept, trainer)
            except RunError as error:
                if self.checkpoint.path.exists():
                    resume = f"--resume goes on from {self.checkpoint.path}"
                    raise RunError(f"{error}; {resume}") from error
                raise
            if self.args.plot:
                self._draw(kept, trainer, confusion)
            files = listed(self.folder.publish())
            self.checkpoint.remove()
        self._judge(kept.history[-1], trainer)
        if not self.args.quiet:
            print(f"\n{per_class(confusion, self.problem.classes)}\n\nwritten: {files}")
            majority = confusion.sum(axis=1)[trainer.majority] / confusion.sum()
            print(f"log loss: {loss:.4f}; the majority class alone: accuracy {majority:.4f}")
        print(f"test accuracy: {accuracy(confusion):.4f}")

    def _judge(self, last: Epoch, trainer: Trainer) -> None:
        """Warn of a training that learned nothing of the features."""
        if not last.data_loss < trainer.guessing:
            self._warn(
                f"the loss, {last.data_loss:.4g}, did not fall below {trainer.guessing:.4g}, that "
                f"of the classes' shares alone: more --epochs or another --lr may help"
            )

    def _draw(self, kept: Kept, trainer: Trainer, confusion: Counts) -> None:
        picture, title = self.folder.staging / PICTURE, self._title(trainer)
        history, classes = kept.history, self.problem.classes
        if fault := drawn(
            picture, lambda: plot_training(picture, history, confusion, classes, title)
        ):
            self._warn(fault)

    def _warn(self, warning: str) -> None:
        print(f"softstep train: warning: {warning}", file=sys.stderr, flush=True)

    def _title(self, trainer: Trainer) -> str:
        layers, plan = "-".join(map(str, trainer.sizes)), trainer.plan
        name = f"{self.data.source}: MLP {layers}"
        return f"{name}, {plan.epochs} epochs, lr {plan.lr:.3g}, seed {self.settings.seed}"

    def _stage(self, kept: Kept, trainer: Trainer) -> None:
        data = self.data
        weights = Weights(
            kept.weights,
            kept.biases,
            data.problem.conversion,
            data.problem.classes,
            data.columns,
            data.named,
            data.label_column,
            {"data": data.source, **asdict(self.settings), **trainer.plan.settings()},
        )
        with writing(self.folder.path / WEIGHTS):
            weights.save(self.folder.staging / WEIGHTS)
        with writing(self.folder.path / HISTORY):
            write_history(self.folder.staging / HISTORY, Epoch, kept.history)
