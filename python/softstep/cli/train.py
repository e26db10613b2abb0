"""``softstep train``: train a classifier and write weights, history and picture."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

import softstep as ss
from softstep.cli import arguments as arg
from softstep.cli.checkpoint import Checkpoint, Identity
from softstep.cli.dataset import DATA_HELP, read_table
from softstep.cli.errors import Diverged, InputError
from softstep.cli.interrupts import interrupt_noted, interrupts_ignored
from softstep.cli.mlp import Floats
from softstep.cli.plot import plot_training, require_matplotlib
from softstep.cli.progress import open_progress
from softstep.cli.report import accuracy, confusion_matrix, per_class
from softstep.cli.results import HISTORY, PICTURE, WEIGHTS, listed, output_folder, write_history
from softstep.cli.schedule import SCHEDULES
from softstep.cli.split import Problem, pose_problem
from softstep.cli.table import Table
from softstep.cli.training import Epoch, Settings, Trainer
from softstep.cli.watch import Watch
from softstep.cli.weights import Weights, is_weights_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``softstep train``."""
    parser.epilog = (
        f"{DATA_HELP}\n\n"
        "Written to the output folder when the training is finished: weights.npz, history.csv\n"
        "and, with --plot, training.png. Until then there is checkpoint.npz: the same command\n"
        "with --resume goes on from it, after a crash or Ctrl-C. Ctrl-C also keeps the finished\n"
        "epochs."
    )
    add = parser.add_argument
    add("--data", default="digits", metavar="DATA", help="digits, FILE.npz or FILE.csv")
    add(
        "--label-column",
        metavar="COLUMN",
        help="name or position (from 0) of the labels in a .csv; if not given, the column called "
        "label, class or target, or else the last",
    )
    add("--output", default="softstep-run", metavar="FOLDER", help="where the results go")
    add("--plot", action="store_true", help="draw the learning curves and the confusion matrix")
    add("--quiet", action="store_true", help="print the final line only")
    add("--resume", action="store_true", help="go on from the checkpoint in the output folder")
    add(
        "--checkpoint-every",
        type=arg.POSITIVE,
        default=5.0,
        metavar="SECONDS",
        help="the least time between two checkpoints; more if they would take over 1%% of it",
    )
    add("--threads", type=arg.whole(1), metavar="N", help="threads of the softstep kernels")
    add = parser.add_argument_group("training").add_argument
    add("--hidden", type=arg.whole(1), nargs="+", default=[512], metavar="N", help="layer widths")
    add("--epochs", type=arg.whole(1), default=60, metavar="N", help="passes over the data")
    add("--batch-size", type=arg.whole(1), default=16, metavar="N", help="rows per step")
    add("--lr", type=arg.POSITIVE, default=0.05, metavar="ALPHA", help="step size at t = 0")
    add("--schedule", choices=SCHEDULES, default="cosine", help="of the step size alpha_t")
    add(
        "--weight-decay",
        type=arg.NOT_NEGATIVE,
        default=0.001,
        metavar="D",
        help="2 lambda of the penalty lambda ||w||^2; lr * weight_decay must stay below 1",
    )
    add("--momentum", type=arg.BELOW_ONE, default=0.9, metavar="M", help="of the steps")
    add(
        "--label-smoothing",
        type=arg.BELOW_ONE,
        default=0.1,
        metavar="E",
        help="part of each target that is spread evenly over the classes",
    )
    add("--test-fraction", type=arg.FRACTION, default=0.2, metavar="F", help="held-out part")
    add("--seed", type=arg.whole(0), default=0, metavar="N", help="of split, weights and order")


def run(args: argparse.Namespace) -> int:
    """Train as told; write and print the result."""
    settings = _settings(args)
    if args.plot:
        require_matplotlib()
    table = read_table(args.data, args.label_column)
    rng = np.random.default_rng(settings.seed)
    problem = pose_problem(table, settings.test_fraction, rng)
    trainer = Trainer(settings, problem, rng)
    layers = "-".join(map(str, trainer.sizes))
    title = f"{table.source}: MLP {layers}, {settings.epochs} epochs, seed {settings.seed}"
    with output_folder(Path(args.output), is_weights_file) as folder:
        identity = Identity.of(settings, table.source, problem)
        checkpoint = Checkpoint(folder.path, folder.staging, identity, args.checkpoint_every)
        if args.resume:
            _resume(trainer, checkpoint)
        else:
            checkpoint.refuse_leftover()
        if not args.quiet:
            train, test = len(problem.train[1]), len(problem.test[1])
            print(f"{title}; {train} rows to train, {test} held out", flush=True)
            if args.resume:
                print(f"goes on in epoch {trainer.position.epoch}", flush=True)
        kept = _train(trainer, checkpoint, args.quiet)
        done = len(kept.history)
        resume = f"--resume goes on from {checkpoint.path}" if checkpoint.path.exists() else ""
        if done == 0:
            place = f"in epoch {trainer.position.epoch}"
            raise KeyboardInterrupt(f"{place}: {resume or 'nothing to keep yet'}")
        # What is kept must not be lost to a second Ctrl-C.
        with interrupts_ignored():
            _weights(kept, table, problem, settings).save(folder.staging / WEIGHTS)
            write_history(folder.staging / HISTORY, Epoch, kept.history)
            if done < settings.epochs:
                files = listed(folder.publish(interrupted=True))
                place = f"in epoch {done + 1}: the {done} before it are in {files}"
                raise KeyboardInterrupt(f"{place}; {resume}" if resume else place)
            labels = problem.test[1]
            confusion = confusion_matrix(labels, trainer.predict_test(), len(problem.classes))
            if args.plot:
                picture = folder.staging / PICTURE
                plot_training(picture, kept.history, confusion, problem.classes, title)
            files = listed(folder.publish())
            checkpoint.remove()
    if not args.quiet:
        print(f"\n{per_class(confusion, problem.classes)}\n\nwritten: {files}")
    print(f"test accuracy: {accuracy(confusion):.4f}")
    return 0


def _resume(trainer: Trainer, checkpoint: Checkpoint) -> None:
    try:
        trainer.restore(checkpoint.load())
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"--resume: {checkpoint.path}: cannot be used: {error}") from error


def _settings(args: argparse.Namespace) -> Settings:
    factor = args.lr * args.weight_decay
    if factor >= 1:
        raise InputError(
            f"--lr times --weight-decay: expected less than 1, got {factor:g} (a step multiplies "
            f"the weights by 1 - lr * weight_decay, which must stay in (0, 1))"
        )
    if args.threads is not None:
        try:
            ss.set_num_threads(args.threads)
        except ValueError as error:
            raise InputError(f"--threads: {error}") from error
    return Settings(**{setting.name: getattr(args, setting.name) for setting in fields(Settings)})


@dataclass(frozen=True)
class _Kept:
    """The state at the end of an epoch, replaced as one so that Ctrl-C finds it consistent."""

    history: tuple[Epoch, ...] = ()
    weights: tuple[Floats, ...] = ()
    biases: tuple[Floats, ...] = ()


def _train(trainer: Trainer, checkpoint: Checkpoint, quiet: bool) -> _Kept:
    """Train until the end or Ctrl-C; return the state after the last epoch finished here."""
    epochs, rows, at = trainer.settings.epochs, len(trainer.labels), trainer.position
    done = (at.epoch - 1) * rows + at.rows
    kept = _Kept()
    with interrupt_noted() as interrupt:
        progress = open_progress("epoch", epochs, epochs * rows, quiet, done)
        try:
            for epoch in trainer.epochs(Watch(trainer, checkpoint, progress, interrupt)):
                weights = tuple(weight.copy() for weight in trainer.weights)
                biases = tuple(bias.copy() for bias in trainer.biases)
                kept = _Kept(tuple(trainer.history), weights, biases)
                progress.part(epoch.epoch, str(epoch), epoch.rows_per_second)
        except KeyboardInterrupt:
            pass
        except Diverged:
            checkpoint.remove()
            raise
        finally:
            progress.close()
    return kept


def _weights(kept: _Kept, table: Table, problem: Problem, settings: Settings) -> Weights:
    return Weights(
        kept.weights,
        kept.biases,
        problem.standardise,
        problem.classes,
        list(table.columns) if table.named else [],
        table.label_column,
        {"data": table.source, **asdict(settings)},
    )
