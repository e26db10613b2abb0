"""``softstep lm``: train a word-level language model on text that every machine has."""

from __future__ import annotations

import argparse
import resource
import sys
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np

import softstep as ss
from softstep.cli import arguments as arg
from softstep.cli.data.corpus import SUFFIXES, Corpus, read_corpus
from softstep.cli.errors import InputError
from softstep.cli.files.checkpoint import Checkpoint, Identity, restoring
from softstep.cli.files.figure import drawn, require_matplotlib
from softstep.cli.files.results import (
    HISTORY,
    PICTURE,
    WEIGHTS,
    OutputFolder,
    listed,
    output_folder,
    write_history,
)
from softstep.cli.files.staging import writing
from softstep.cli.language_model.compare import compare_heads, comparison_table
from softstep.cli.language_model.plot import plot_lm
from softstep.cli.language_model.training import Measurement, Settings, Trainer, perplexity
from softstep.cli.language_model.use import sampled, text_perplexity
from softstep.cli.language_model.watch import train
from softstep.cli.language_model.weights import is_lm_file, load_lm, save_lm
from softstep.cli.process.interrupts import Interrupted, interrupts_ignored
from softstep.training.schedules import SCHEDULES
from softstep.training.tables import show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``softstep lm``."""
    parser.epilog = (
        "Predicts a word from the words before it: their embeddings, a hidden layer, a softmax\n"
        "over the vocabulary by softstep.linear_cross_entropy_with_grad, without the logits of a\n"
        "batch. The text is the standard library of this Python: sources and docstrings.\n\n"
        "Written to the output folder when the training is finished: weights.npz, history.csv\n"
        "and, with --plot, training.png. Until then there is checkpoint.npz: the same command\n"
        "with --resume goes on from it, after a crash, Ctrl-C or SIGTERM, which also keep the\n"
        "steps that are done.\n\n"
        "With --weights nothing is trained: --text is what the model is judged by, and --sample\n"
        "lets it write."
    )
    add = parser.add_argument
    add(
        "--text",
        type=Path,
        metavar="TEXT",
        help=f"a file, or a folder with {', '.join(SUFFIXES)} files; default: the standard library",
    )
    add("--output", default="softstep-lm", metavar="FOLDER", help="where the results go")
    add("--plot", action="store_true", help="draw the loss curves")
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
    add("--dense", action="store_true", help="train with all logits of a batch in memory")
    add("--no-comparison", action="store_true", help="no run of both heads after the training")
    add = parser.add_argument_group("use of a trained model").add_argument
    add("--weights", type=Path, metavar="FILE", help="weights.npz of `softstep lm`")
    add("--sample", type=arg.whole(1), metavar="N", help="let it write N words")
    add("--prompt", default="", metavar="TEXT", help="what the words follow; default: a start")
    add("--temperature", type=arg.POSITIVE, default=1.0, metavar="T", help="of the softmax")
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
    """Train as told, or use what was trained; write and print the result."""
    _set_threads(args.threads)
    if args.weights is not None:
        return _use(args)
    if args.sample is not None or args.prompt:
        raise InputError("--sample, --prompt: expected --weights FILE, the model that is to write")
    return _train(args)


def _use(args: argparse.Namespace) -> int:
    if args.text is None and args.sample is None:
        raise InputError("--weights: expected --text TEXT, to judge it by, or --sample N")
    saved = load_lm(args.weights)
    if args.text is not None:
        print(text_perplexity(saved, args.text))
    if args.sample is not None:
        rng = np.random.default_rng(args.seed)
        words = sampled(saved, args.prompt, args.sample, args.temperature, rng)
        print(" ".join([args.prompt, *words]).lstrip())
    return 0


def _train(args: argparse.Namespace) -> int:
    settings = Settings(**{field.name: getattr(args, field.name) for field in fields(Settings)})
    if args.plot:
        require_matplotlib()
    rng = np.random.default_rng(settings.seed)
    with output_folder(Path(args.output), is_lm_file) as folder:
        corpus = read_corpus(
            args.text, settings.vocabulary, settings.context, settings.test_fraction, rng
        )
        trainer = Trainer(settings, corpus, rng)
        checkpoint = _checkpoint(folder, settings, corpus, args.checkpoint_every)
        if args.resume:
            with restoring(checkpoint.path):
                trainer.restore(checkpoint.load())
        else:
            checkpoint.refuse_leftover()
        unigram = trainer.unigram_loss()
        if not args.quiet:
            print("\n".join(_introduction(corpus, trainer, unigram)), flush=True)
            if args.resume:
                print(f"goes on after step {trainer.optimiser.steps}", flush=True)
        if ended := train(trainer, checkpoint, args.quiet):
            raise Interrupted(ended.number, _keep_part(folder, trainer, checkpoint)) from None
        files = _keep(folder, trainer, unigram if args.plot else None)
        checkpoint.remove()
    last = trainer.history[-1]
    if not args.quiet:
        _conclude(trainer, files, args.no_comparison or settings.dense)
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
        f"vocabulary: {len(corpus.vocabulary)}; {corpus.test.unknown_share():.1%} of the held-out "
        f"words are outside and count as one word",
        f"model: {settings.context} x {settings.embedding}{hidden} - {len(corpus.vocabulary)}, "
        f"{sum(array.size for array in parameters.values())} parameters",
        f"held-out perplexity of the unigrams: {perplexity(unigram):.2f}",
    ]


def _checkpoint(
    folder: OutputFolder, settings: Settings, corpus: Corpus, seconds: float
) -> Checkpoint:
    parts = corpus.train.words, corpus.test.words
    identity = Identity.of(asdict(settings), corpus.source, corpus.vocabulary, parts)
    return Checkpoint(folder.path, folder.staging, identity, seconds, "lm")


def _keep_part(folder: OutputFolder, trainer: Trainer, checkpoint: Checkpoint) -> str:
    """Write what there is of an interrupted training; return what to say of it."""
    steps = trainer.optimiser.steps
    # What is kept must not be lost to a second Ctrl-C.
    with interrupts_ignored():
        _stage(folder, trainer)
        files = listed(folder.publish(interrupted=True))
    resume = f"; --resume goes on from {checkpoint.path}" if checkpoint.path.exists() else ""
    return f"after step {steps} of {trainer.settings.steps}: it is in {files}{resume}"


def _keep(folder: OutputFolder, trainer: Trainer, unigram: float | None) -> str:
    """Write the files and return their names."""
    with interrupts_ignored():
        _stage(folder, trainer)
        if unigram is not None:
            words = len(trainer.corpus.vocabulary)
            title = f"{trainer.corpus.source}: {words} words, seed {trainer.settings.seed}"
            picture, history = folder.staging / PICTURE, trainer.history
            if fault := drawn(picture, lambda: plot_lm(picture, history, unigram, title)):
                print(f"softstep lm: warning: {fault}", file=sys.stderr, flush=True)
        return listed(folder.publish())


def _stage(folder: OutputFolder, trainer: Trainer) -> None:
    corpus, steps = trainer.corpus, trainer.optimiser.steps
    kept = {"text": corpus.source, **asdict(trainer.settings), "steps_done": steps}
    with writing(folder.path / WEIGHTS):
        save_lm(folder.staging / WEIGHTS, trainer.model.parameters, corpus.vocabulary, kept)
    with writing(folder.path / HISTORY):
        write_history(folder.staging / HISTORY, Measurement, trainer.history)


def _conclude(trainer: Trainer, files: str, skip_comparison: bool) -> None:
    """Print what the training cost, and what it costs with the other head."""
    steps = np.diff([0, *(part.step for part in trainer.history)])
    rates = np.array([part.rows_per_second for part in trainer.history])
    # Linux counts in KiB.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{steps.sum() / (steps / rates).sum():.0f} rows/s, peak memory {peak:.0f} MiB")
    print(f"written: {files}\n", flush=True)
    if not skip_comparison:
        show(comparison_table(compare_heads(trainer)))
