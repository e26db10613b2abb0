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
from softstep.cli.data.dataset import DATA_HELP, read_table
from softstep.cli.data.labels import encode_labels
from softstep.cli.data.table import Table
from softstep.cli.errors import InputError
from softstep.cli.files.staging import staging_folder
from softstep.training.evaluation import logits_of
from softstep.training.network import Floats


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``softstep predict``."""
    parser.epilog = (
        f"{DATA_HELP}\n\n"
        "The labels may be missing. With them the accuracy is printed, on stderr if the\n"
        "predictions go to stdout."
    )
    add = parser.add_argument
    add("--weights", required=True, metavar="FILE", help="weights.npz of `softstep train`")
    add("--data", required=True, metavar="DATA", help="digits, FILE.npz or FILE.csv")
    add("--label-column", metavar="COLUMN", help="name or position, if not as in training")
    add("--probabilities", action="store_true", help="add a column of probabilities per class")
    add("--output", metavar="FILE.csv", help="write the predictions there instead of to stdout")


def run(args: argparse.Namespace) -> int:
    """Predict as told; write and print the result."""
    model = load_weights(Path(args.weights))
    table = read_table(
        args.data,
        args.label_column,
        expected=len(model.standardise.mean),
        remembered=model.label_column,
    )
    _check_columns(table, model)
    labels = None if table.labels is None else encode_labels(table, model.classes)[0]
    probabilities = _probabilities(model, model.standardise(table.features))
    predictions = probabilities.argmax(axis=1)
    names = [model.classes[index] for index in predictions]
    classes = model.classes if args.probabilities else []
    if args.output is None:
        _write(sys.stdout, names, classes, probabilities)
        sys.stdout.flush()
    else:
        output = Path(args.output)
        for source in (args.weights, args.data):
            if output.exists() and Path(source).exists() and output.samefile(source):
                raise InputError(f"--output: expected another file than the input {source}")
        with staging_folder(output.parent) as staging:
            with open(staging / output.name, "w", encoding="utf-8", newline="") as file:
                _write(file, names, classes, probabilities)
            os.replace(staging / output.name, output)
        print(f"written: {output} ({len(names)} rows)")
    if labels is not None:
        hits = int(np.count_nonzero(predictions == labels))
        print(
            f"accuracy: {hits / len(labels):.4f} ({hits} of {len(labels)} rows)",
            file=sys.stderr if args.output is None else sys.stdout,
        )
    return 0


def _check_columns(table: Table, model: Weights) -> None:
    """Refuse columns in another order than at training: the predictions would be nonsense."""
    if not (table.named and model.columns):
        return
    for got, expected in zip(table.columns, model.columns, strict=True):
        if got != expected:
            raise InputError(
                f"{table.source}: expected column {expected!r}, as in training, got {got!r} there"
            )


def _probabilities(model: Weights, features: Floats) -> Floats:
    logits = logits_of(model.weights, model.biases, features)
    return ss.softmax(logits, out=logits)


def _write(
    file: TextIO, names: Sequence[str], classes: Sequence[str], probabilities: Floats
) -> None:
    """Write a line per row: its number from 0, its class and the probabilities of ``classes``."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["row", "prediction", *(f"p({name})" for name in classes)])
    for row, (name, values) in enumerate(zip(names, probabilities, strict=True)):
        shown = [f"{value:.6f}" for value in values] if classes else []
        writer.writerow([row, name, *shown])
