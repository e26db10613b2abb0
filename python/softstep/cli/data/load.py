"""The data of a training, from the words of the command line to rows and labels."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from softstep.cli.data.dataset import read_table
from softstep.cli.data.label import label_names
from softstep.cli.data.options import choices_of, reading_of
from softstep.cli.data.selection import select
from softstep.cli.data.split import Problem, pose_problem
from softstep.cli.data.table import some


@dataclass(frozen=True)
class Data:
    """A problem, and what is known of the file that it comes from."""

    source: str
    problem: Problem
    # All columns of the file, by name or position, and which of them was the label.
    columns: list[str]
    named: bool
    label_column: str
    # What was found and done, a line each.
    notes: list[str]
    warnings: list[str]


def load(
    args: argparse.Namespace,
    validation_fraction: Callable[[int], float],
    rng: np.random.Generator,
    quiet: bool,
) -> Data:
    """Read ``--data`` and pose the problem."""
    choices = choices_of(args)
    table = read_table(args.data, reading_of(args), label_names(args.label_column), quiet=quiet)
    selection = select(table, choices)
    problem, said = pose_problem(selection, choices, args.test_fraction, validation_fraction, rng)
    label, changes = selection.label, str(selection.changes)
    classes = problem.classes
    notes = [
        *([f"{table.source}: {'; '.join(table.notes)}"] if table.notes else []),
        f"label: {label}, {len(classes)} classes: {some(classes)}",
        *([f"columns: {changes}"] if changes else []),
    ]
    warnings = [f"label: {label}{label.advice}"] if label.guessed else []
    return Data(
        table.source,
        problem,
        table.names,
        table.named,
        "" if table.apart else label.name,
        notes,
        [*warnings, *said],
    )
