"""What `softstep train` prints and writes."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, dataclass

from softstep.cli.classifier.checkpoint import Checkpoint
from softstep.cli.classifier.plot import plot_training
from softstep.cli.classifier.records import Epoch, Settings
from softstep.cli.classifier.report import Counts, accuracy, per_class
from softstep.cli.classifier.training import Trainer
from softstep.cli.classifier.watch import Kept
from softstep.cli.classifier.weights import Weights
from softstep.cli.data.load import Data
from softstep.cli.data.split import Problem
from softstep.cli.files.results import (
    HISTORY,
    PICTURE,
    WEIGHTS,
    OutputFolder,
    listed,
    write_history,
)
from softstep.cli.process.interrupts import interrupts_ignored


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
            print(f"softstep train: warning: {warning}", file=sys.stderr, flush=True)
        if self.args.quiet:
            return
        train, test = len(self.problem.train), len(self.problem.test)
        ranks = f"; {trainer.comm.size} ranks" if trainer.comm.size > 1 else ""
        print(f"{self._title(trainer)}; {train} rows to train, {test} held out{ranks}", flush=True)
        if self.args.resume:
            print(f"goes on in epoch {trainer.position.epoch}", flush=True)

    def interrupted(self, kept: Kept, trainer: Trainer) -> KeyboardInterrupt:
        """Write the epochs that are finished; return what to raise."""
        path, done = self.checkpoint.path, len(kept.history)
        resume = f"--resume goes on from {path}" if path.exists() else ""
        if done == 0:
            place = f"in epoch {trainer.position.epoch}"
            return KeyboardInterrupt(f"{place}: {resume or 'nothing to keep yet'}")
        # What is kept must not be lost to a second Ctrl-C.
        with interrupts_ignored():
            self._stage(kept)
            files = listed(self.folder.publish(interrupted=True))
        place = f"in epoch {done + 1}: the {done} before it are in {files}"
        return KeyboardInterrupt(f"{place}; {resume}" if resume else place)

    def finished(self, kept: Kept, trainer: Trainer, confusion: Counts) -> None:
        """Write and print the result."""
        with interrupts_ignored():
            self._stage(kept)
            if self.args.plot:
                picture, title = self.folder.staging / PICTURE, self._title(trainer)
                plot_training(picture, kept.history, confusion, self.problem.classes, title)
            files = listed(self.folder.publish())
            self.checkpoint.remove()
        if not self.args.quiet:
            print(f"\n{per_class(confusion, self.problem.classes)}\n\nwritten: {files}")
        print(f"test accuracy: {accuracy(confusion):.4f}")

    def _title(self, trainer: Trainer) -> str:
        layers, settings = "-".join(map(str, trainer.sizes)), self.settings
        name = f"{self.data.source}: MLP {layers}"
        return f"{name}, {settings.epochs} epochs, seed {settings.seed}"

    def _stage(self, kept: Kept) -> None:
        data = self.data
        weights = Weights(
            kept.weights,
            kept.biases,
            data.problem.conversion,
            data.problem.classes,
            data.columns,
            data.named,
            data.label_column,
            {"data": data.source, **asdict(self.settings)},
        )
        weights.save(self.folder.staging / WEIGHTS)
        write_history(self.folder.staging / HISTORY, Epoch, kept.history)
