"""``softstep train``: train a classifier and write weights, history and picture."""

from __future__ import annotations

import argparse
import json
from contextlib import ExitStack
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np

from softstep.cli import arguments as arg
from softstep.cli.classifier.output import Output
from softstep.cli.classifier.records import Settings
from softstep.cli.classifier.training import Trainer
from softstep.cli.classifier.watch import train
from softstep.cli.classifier.weights import is_weights_file
from softstep.cli.data.dataset import DATA_HELP
from softstep.cli.data.load import Data, load
from softstep.cli.data.options import add_choices, add_reading
from softstep.cli.errors import InputError
from softstep.cli.files.checkpoint import CHECKPOINT, Checkpoint, Identity, restoring
from softstep.cli.files.figure import require_matplotlib
from softstep.cli.files.results import OutputFolder, output_folder
from softstep.cli.process.interrupts import Interrupted
from softstep.cli.process.ranks import agreed, alike, all_or_none, from_first, join, same
from softstep.cli.process.stdout import writing_stdout
from softstep.cli.process.threads import divide_cores, set_threads
from softstep.distributed import Communicator
from softstep.training.schedules import SCHEDULES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``softstep train``."""
    parser.epilog = (
        f"{DATA_HELP}\n\n"
        "Written to the output folder when the training is finished: weights.npz, history.csv\n"
        "and, with --plot, training.png. Until then there is checkpoint.npz: the same command\n"
        "with --resume goes on from it, after a crash, Ctrl-C, SIGTERM or SIGHUP, which also keep\n"
        "the finished epochs.\n\n"
        "On many processes: `mpiexec -n 4 python -m softstep train`, with mpi4py, or `torchrun\n"
        "--nproc-per-node=4 -m softstep train`, with PyTorch. They share the rows of each batch;\n"
        "the result is that of one process but for roundings. Each takes its part of the cores."
    )
    add = parser.add_argument
    add("--data", default="digits", metavar="DATA", help="digits, a FILE, or - for standard input")
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
    add(
        "--timeout",
        type=arg.POSITIVE,
        default=300.0,
        metavar="SECONDS",
        help="of many processes: how long to wait for another one before all are ended",
    )
    add_choices(parser)
    add_reading(parser)
    add = parser.add_argument_group("training").add_argument
    add(
        "--hidden",
        type=arg.whole(0),
        nargs="+",
        default=[128],
        metavar="N",
        help="layer widths; 0: none, the linear softmax",
    )
    add(
        "--epochs",
        type=arg.automatic(arg.whole(1)),
        default=arg.AUTO,
        metavar="N",
        help="passes over the data, at most; auto: 60, and more for fewer than 1000 steps",
    )
    add(
        "--batch-size",
        type=arg.automatic(arg.whole(1)),
        default=arg.AUTO,
        metavar="N",
        help="rows per step; auto: 4 to 32, a 32nd of the rows",
    )
    add(
        "--lr",
        type=arg.automatic(arg.POSITIVE),
        default=arg.AUTO,
        metavar="ALPHA",
        help="step size at t = 0; auto: from the second moments of the features",
    )
    add("--schedule", choices=SCHEDULES, default="cosine", help="of the step size alpha_t")
    add(
        "--weight-decay",
        type=arg.automatic(arg.NOT_NEGATIVE),
        default=arg.AUTO,
        metavar="D",
        help="2 lambda of the penalty lambda ||w||^2; lr * weight_decay must stay below 1; auto: 3 "
        "over the number of rows, 0.03 at most",
    )
    add("--momentum", type=arg.BELOW_ONE, default=0.9, metavar="M", help="of the steps")
    add(
        "--label-smoothing",
        type=arg.BELOW_ONE,
        default=0.0,
        metavar="E",
        help="part of each target that is spread evenly over the classes",
    )
    add("--test-fraction", type=arg.FRACTION, default=0.2, metavar="F", help="held-out part")
    add(
        "--validation-fraction",
        type=arg.automatic(arg.BELOW_ONE),
        default=arg.AUTO,
        metavar="F",
        help="part of the other rows by whose loss the training stops, at the best epoch; auto: "
        "0.1 of 10 000 rows or more, none of fewer",
    )
    add(
        "--patience",
        type=arg.whole(1),
        default=10,
        metavar="N",
        help="stop when that loss has not fallen for so many epochs",
    )
    add("--seed", type=arg.whole(0), default=0, metavar="N", help="of split, weights and order")


def run(args: argparse.Namespace) -> int:
    """Train as told, on every rank; rank 0 prints and writes the result."""
    comm = join(args.timeout)
    with all_or_none(comm, "train", lambda: _advice(args)):
        divide_cores(comm, args.threads)
        return _run(args, comm)


def _run(args: argparse.Namespace, comm: Communicator) -> int:
    with ExitStack() as stack:
        folder: OutputFolder | None = None
        with agreed(comm):
            settings = settings_of(args)
            if args.plot:
                require_matplotlib()
            # Before the data are read, which may take a while.
            if comm.rank == 0:
                folder = stack.enter_context(output_folder(Path(args.output), is_weights_file))
        with agreed(comm):
            rng = np.random.default_rng(settings.seed)
            data = load(args, settings.held_out, rng, quiet=args.quiet or comm.rank > 0)
            identity = _identity(settings, data)
        same(comm, "settings", json.dumps([identity.settings, args.resume]))
        same(comm, "data", identity.digest)
        trainer = Trainer(settings, data.problem, rng, comm)
        output, saved = None, {}
        with agreed(comm):
            if folder is not None:
                seconds = args.checkpoint_every
                checkpoint = Checkpoint(folder.path, folder.staging, identity, seconds, "train")
                output = Output(args, settings, data, folder, checkpoint)
                if args.resume:
                    saved = checkpoint.load()
                else:
                    checkpoint.refuse_leftover()
        with alike(comm):
            if args.resume:
                with restoring(Path(args.output) / CHECKPOINT):
                    trainer.restore(from_first(comm, saved))
            if output is not None:
                with writing_stdout():
                    output.announce(trainer)
            kept = train(trainer, output.checkpoint if output else None, args.quiet)
        if kept.finished:
            loss, confusion = trainer.outcome()
            if output is not None:
                output.finished(kept, trainer, loss, confusion)
        elif output is not None:
            raise output.interrupted(kept, trainer)
        else:
            raise Interrupted(kept.signal)
    return 0


def _identity(settings: Settings, data: Data) -> Identity:
    problem, conversion = data.problem, data.problem.conversion
    rows = problem.train, problem.validation, problem.test
    arrays = conversion.mean, conversion.scale, problem.features, problem.labels, *rows
    texts = [problem.classes, conversion.saved()]
    return Identity.of(asdict(settings), data.source, texts, arrays)


def _advice(args: argparse.Namespace) -> str:
    """Return what to do when a rank was lost."""
    path = Path(args.output) / CHECKPOINT
    return f"softstep train: --resume goes on from {path}" if path.exists() else ""


def settings_of(args: argparse.Namespace) -> Settings:
    """Return the settings that the command line names; refuse those that do not go together."""
    factor = (args.lr or 0) * (args.weight_decay or 0)
    if factor >= 1:
        raise InputError(
            f"--lr times --weight-decay: expected less than 1, got {factor:g} (a step multiplies "
            f"the weights by 1 - lr * weight_decay, which must stay in (0, 1))"
        )
    if 0 in args.hidden and len(args.hidden) > 1:
        raise InputError("--hidden: expected 0 alone, or widths of at least 1")
    set_threads(args.threads)
    named = {setting.name: getattr(args, setting.name) for setting in fields(Settings)}
    return Settings(**{**named, "hidden": [width for width in args.hidden if width]})
