"""``softstep lm``: train a word-level language model on text that every machine has."""

from __future__ import annotations

import argparse
import resource
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np

import softstep as ss
from softstep.cli import arguments as arg
from softstep.cli.data.corpus import SUFFIXES, Corpus, read_corpus
from softstep.cli.errors import InputError
from softstep.cli.files.figure import require_matplotlib
from softstep.cli.files.results import (
    HISTORY,
    PICTURE,
    WEIGHTS,
    OutputFolder,
    listed,
    output_folder,
    write_history,
)
from softstep.cli.language_model.compare import compare_heads, comparison_table
from softstep.cli.language_model.plot import plot_lm
from softstep.cli.language_model.training import Checkpoint, Settings, Trainer, perplexity
from softstep.cli.language_model.weights import is_lm_file, save_lm
from softstep.cli.process.interrupts import interrupts_ignored
from softstep.training.progress import open_progress
from softstep.training.schedules import SCHEDULES
from softstep.training.tables import show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``softstep lm``."""
    parser.epilog = (
        "Predicts a word from the words before it: their embeddings, a hidden layer, a softmax\n"
        "over the vocabulary by softstep.linear_cross_entropy_with_grad, without the logits of a\n"
        "batch. The text is the standard library of this Python: sources and docstrings.\n\n"
        "Written to the output folder when the training is finished: weights.npz, history.csv\n"
        "and, with --plot, training.png. Ctrl-C keeps the steps that are done."
    )
    add = parser.add_argument
    add(
        "--text",
        type=Path,
        metavar="FOLDER",
        help=f"train on the {', '.join(SUFFIXES)} files below it; default: the standard library",
    )
    add("--output", default="softstep-lm", metavar="FOLDER", help="where the results go")
    add("--plot", action="store_true", help="draw the loss curves")
    add("--quiet", action="store_true", help="print the final line only")
    add("--threads", type=arg.whole(1), metavar="N", help="threads of the softstep kernels")
    add("--dense", action="store_true", help="train with all logits of a batch in memory")
    add("--no-comparison", action="store_true", help="no run of both heads after the training")
    add = parser.add_argument_group("model").add_argument
    add("--vocabulary", type=arg.whole(3), default=25_000, metavar="V", help="most words")
    add("--context", type=arg.whole(1, 64), default=4, metavar="N", help="words to predict from")
    add("--embedding", type=arg.whole(1), default=64, metavar="N", help="numbers per word")
    add("--hidden", type=arg.whole(0), default=64, metavar="N", help="layer width; 0: no layer")
    add = parser.add_argument_group("training").add_argument
    add("--steps", type=arg.whole(1), default=1000, metavar="N", help="steps, a batch each")
    add("--checkpoints", type=arg.whole(1), default=20, metavar="N", help="lines of the history")
    add("--batch-size", type=arg.whole(1), default=512, metavar="N", help="words per step")
    add("--lr", type=arg.POSITIVE, default=2.0, metavar="ALPHA", help="step size at t = 0")
    add("--schedule", choices=SCHEDULES, default="cosine", help="of the step size alpha_t")
    add("--momentum", type=arg.BELOW_ONE, default=0.9, metavar="M", help="of the steps")
    add(
        "--max-norm",
        type=arg.POSITIVE,
        default=1.0,
        metavar="N",
        help="gradients with a larger 2-norm are scaled to it",
    )
    add("--test-fraction", type=arg.FRACTION, default=0.05, metavar="F", help="held-out part")
    add("--seed", type=arg.whole(0), default=0, metavar="N", help="of split, weights and order")


def run(args: argparse.Namespace) -> int:
    """Train as told; write and print the result."""
    settings = Settings(**{field.name: getattr(args, field.name) for field in fields(Settings)})
    _set_threads(args.threads)
    if args.plot:
        require_matplotlib()
    rng = np.random.default_rng(settings.seed)
    with output_folder(Path(args.output), is_lm_file) as folder:
        corpus = read_corpus(
            args.text, settings.vocabulary, settings.context, settings.test_fraction, rng
        )
        trainer = Trainer(settings, corpus, rng)
        unigram = trainer.unigram_loss()
        if not args.quiet:
            print("\n".join(_introduction(corpus, trainer, unigram)), flush=True)
        history = _train(trainer, args.quiet)
        files = _keep(folder, trainer, history, unigram if args.plot else None)
    last = history[-1]
    if not args.quiet:
        _conclude(trainer, history, files, args.no_comparison or settings.dense)
    print(f"held-out perplexity: {last.test_perplexity:.2f} (unigrams: {perplexity(unigram):.2f})")
    return 0


def _set_threads(threads: int | None) -> None:
    if threads is not None:
        try:
            ss.set_num_threads(threads)
        except ValueError as error:
            raise InputError(f"--threads: {error}") from error


def _introduction(corpus: Corpus, trainer: Trainer, unigram: float) -> list[str]:
    settings, parameters = trainer.settings, trainer.model.parameters
    hidden = f" - {settings.hidden}" if settings.hidden else ""
    return [
        f"{corpus.source}: {corpus.files} files, {len(corpus.train.positions)} words to train, "
        f"{len(corpus.test.positions)} held out",
        f"vocabulary: {len(corpus.vocabulary)}; {corpus.unknown_share():.1%} of the held-out words "
        f"are outside and count as one word",
        f"model: {settings.context} x {settings.embedding}{hidden} - {len(corpus.vocabulary)}, "
        f"{sum(array.size for array in parameters.values())} parameters",
        f"held-out perplexity of the unigrams: {perplexity(unigram):.2f}",
    ]


def _train(trainer: Trainer, quiet: bool) -> list[Checkpoint]:
    """Train until the end or Ctrl-C; return the checkpoints."""
    steps, history = trainer.settings.steps, list[Checkpoint]()
    parts = min(trainer.settings.checkpoints, steps)
    progress = open_progress("checkpoint", parts, steps * trainer.rows, quiet)
    try:
        for number, checkpoint in enumerate(trainer.checkpoints(progress.rows), start=1):
            history.append(checkpoint)
            progress.part(number, str(checkpoint), checkpoint.rows_per_second)
    except KeyboardInterrupt:
        if trainer.optimiser.steps == 0:
            raise KeyboardInterrupt("in step 1: nothing to keep yet") from None
    finally:
        progress.close()
    return history


def _keep(
    folder: OutputFolder, trainer: Trainer, history: list[Checkpoint], unigram: float | None
) -> str:
    """Write the files; raise KeyboardInterrupt if the training was interrupted."""
    steps, settings = trainer.optimiser.steps, trainer.settings
    finished = bool(history) and history[-1].step == settings.steps
    words = trainer.corpus.vocabulary
    # What is kept must not be lost to a second Ctrl-C.
    with interrupts_ignored():
        kept = {"text": trainer.corpus.source, **asdict(settings), "steps_done": steps}
        save_lm(folder.staging / WEIGHTS, trainer.model.parameters, words, kept)
        write_history(folder.staging / HISTORY, Checkpoint, history)
        if not finished:
            files = listed(folder.publish(interrupted=True))
            raise KeyboardInterrupt(f"after step {steps} of {settings.steps}: it is in {files}")
        if unigram is not None:
            title = f"{trainer.corpus.source}: {len(words)} words, seed {settings.seed}"
            plot_lm(folder.staging / PICTURE, history, unigram, title)
        return listed(folder.publish())


def _conclude(
    trainer: Trainer, history: list[Checkpoint], files: str, skip_comparison: bool
) -> None:
    """Print what the training cost, and what it costs with the other head."""
    steps = np.diff([0, *(checkpoint.step for checkpoint in history)])
    rates = np.array([checkpoint.rows_per_second for checkpoint in history])
    # Linux counts in KiB.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{steps.sum() / (steps / rates).sum():.0f} rows/s, peak memory {peak:.0f} MiB")
    print(f"written: {files}\n", flush=True)
    if not skip_comparison:
        show(comparison_table(compare_heads(trainer)))
