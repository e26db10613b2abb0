"""``softstep predict``: classify the rows of a file with saved weights."""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

import softstep as ss
from softstep.cli.classifier.weights import Weights, load_weights
from softstep.cli.data.alignment import Aligned, Trained, align
from softstep.cli.data.dataset import DATA_HELP, read_table
from softstep.cli.data.header import unique
from softstep.cli.data.labels import encode_known
from softstep.cli.data.options import add_reading, reading_of
from softstep.cli.data.selection import tidied
from softstep.cli.errors import InputError
from softstep.cli.files.staging import staging_folder, writing
from softstep.cli.process.stdout import ESCAPED, writing_stdout
from softstep.training.evaluation import logits_of
from softstep.training.network import Floats


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``softstep predict``."""
    parser.epilog = (
        f"{DATA_HELP}\n\n"
        "Columns are found by their names, in any order; others are carried to the output.\n"
        "The labels may be missing. With them the accuracy is printed, on stderr if the\n"
        "predictions go to stdout."
    )
    add = parser.add_argument
    add("--weights", required=True, metavar="FILE", help="weights.npz of `softstep train`")
    add("--data", required=True, metavar="DATA", help="digits, a FILE, or - for standard input")
    add("--label-column", metavar="COLUMN", help="name or position, if not as in training")
    add(
        "--probabilities",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="a column of probabilities per class",
    )
    add("--output", metavar="FILE.csv", help="write the predictions there instead of to stdout")
    add_reading(parser)


def run(args: argparse.Namespace) -> int:
    """Predict as told; write and print the result."""
    model = load_weights(Path(args.weights))
    _check_output(args)
    known = [feature.name for feature in model.conversion.features] if model.named else []
    if model.named and model.label_column:
        known.append(model.label_column)
    quiet = args.output is None
    raw = read_table(args.data, reading_of(args), known, quiet=quiet, others_as_texts=True)
    table = tidied(raw, model.conversion.missing_values)
    trained = Trained(model.conversion, model.columns, model.named, model.label_column)
    aligned = align(table, raw, trained, args.label_column)
    for note in aligned.notes:
        print(f"softstep predict: {note}", file=sys.stderr)
    labels = None if aligned.label is None else encode_known(table, aligned.label, model.classes)
    probabilities = _probabilities(model, model.conversion(aligned.features))
    predictions = probabilities.argmax(axis=1)
    if args.output is None:
        _check_encoding(model, aligned)
    rows = _Rows(model, aligned, predictions, probabilities if args.probabilities else None)
    if args.output is None:
        with writing_stdout():
            rows.write(sys.stdout)
            sys.stdout.flush()
    else:
        output = Path(args.output)
        rows.save(output)
        print(f"written: {output} ({len(predictions)} rows)")
    if labels is not None:
        count = int(np.count_nonzero(labels >= 0))
        hits = int(np.count_nonzero(predictions == labels))
        print(
            f"accuracy: {hits / count:.4f} ({hits} of {count} rows)",
            file=sys.stderr if args.output is None else sys.stdout,
        )
    return 0


def _check_output(args: argparse.Namespace) -> None:
    """Refuse an output that cannot be written, before anything is read."""
    if args.output is None:
        return
    output = Path(args.output)
    if output.is_dir():
        raise InputError(f"--output: {output}: expected a file, got a folder")
    for source in (args.weights, args.data):
        if output.exists() and Path(source).exists() and output.samefile(source):
            raise InputError(f"--output: expected another file than the input {source}")
    if not _is_stream(output):
        with staging_folder(_target(output).parent):
            pass


def _check_encoding(model: Weights, aligned: Aligned) -> None:
    """Refuse texts that stdout cannot have as they are, before a line is there."""
    encoding, errors = sys.stdout.encoding or "utf-8", sys.stdout.errors or "strict"
    texts = [*model.classes]
    for column in aligned.others:
        texts += [column.name, *column.texts().levels]
    for text in texts:
        try:
            text.encode(encoding, "strict" if errors == ESCAPED else errors)
        except UnicodeEncodeError as error:
            raise InputError(
                f"stdout: expected texts that are in its encoding, {encoding}, got {text!a}: "
                f"--output FILE.csv is written in UTF-8"
            ) from error


def _is_stream(output: Path) -> bool:
    """Return whether it is a pipe or a device, which is written into and never replaced."""
    return output.exists() and not output.is_file()


def _target(output: Path) -> Path:
    """Return the file itself: of a link the one that it leads to."""
    return output.resolve() if output.is_symlink() else output


def _probabilities(model: Weights, features: Floats) -> Floats:
    logits = logits_of(model.weights, model.biases, features)
    return ss.softmax(logits, out=logits)


class _Rows:
    """The lines of the output: other columns of the file, the class, its probabilities."""

    def __init__(
        self,
        model: Weights,
        aligned: Aligned,
        predictions: Sequence[int],
        probabilities: Floats | None,
    ) -> None:
        self._names = model.classes
        self._predictions = predictions
        self._probabilities = probabilities
        self._others = [(column.name, column.texts().cells()) for column in aligned.others]

    def save(self, output: Path) -> None:
        """Write the lines to a file as a whole, or into a pipe or a device."""
        with writing(output):
            if _is_stream(output):
                self._write_to(output)
                return
            target = _target(output)
            with staging_folder(target.parent) as staging:
                self._write_to(staging / target.name)
                os.replace(staging / target.name, target)

    def _write_to(self, path: Path) -> None:
        with open(path, "w", encoding="utf-8", newline="") as file:
            self.write(file)

    def write(self, file: TextIO) -> None:
        """Write a header and a line per row: its number from 0 and what is known of it."""
        writer = csv.writer(file, lineterminator="\n")
        chances = [] if self._probabilities is None else [f"p({name})" for name in self._names]
        own = ["row", "prediction", *chances]
        others = unique([*own, *(name or "unnamed" for name, _ in self._others)])[len(own) :]
        writer.writerow(["row", *others, "prediction", *chances])
        for row, prediction in enumerate(self._predictions):
            carried = [cells[row] for _, cells in self._others]
            values = [] if self._probabilities is None else self._probabilities[row].tolist()
            shown = [f"{value:.6f}" for value in values]
            writer.writerow([row, *carried, self._names[prediction], *shown])
