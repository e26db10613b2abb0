"""The options that say how a file is to be read, where that is not to be found out."""

from __future__ import annotations

import argparse

from softstep.cli.data.column import MISSING
from softstep.cli.data.dialect import BY_NAME, Reading
from softstep.cli.data.selection import Choices
from softstep.cli.errors import InputError


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Declare how a text table is written."""
    add = parser.add_argument_group("reading, where it is not to be found out").add_argument
    add("--separator", metavar="SIGN", help="between the cells: a sign, tab or spaces")
    add(
        "--header",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="the first line names the columns, or is a row",
    )
    add("--encoding", metavar="NAME", help="of the text, as Python calls it")
    add("--comment", metavar="SIGN", help="lines that begin with it are left out; '': none")


def add_choices(parser: argparse.ArgumentParser) -> None:
    """Declare which columns and rows take part."""
    add = parser.add_argument_group("columns and rows").add_argument
    add(
        "--label-column",
        metavar="COLUMN",
        help="name or position (from 0) of the labels; if not given, the column called label, "
        "class, target or y in any case, or else the last",
    )
    add("--drop", nargs="+", default=[], metavar="COLUMN", help="columns to leave out")
    add(
        "--keep",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="columns to use that would be left out as names or numbers of the rows",
    )
    add(
        "--missing",
        choices=("mean", "drop", "error"),
        default="mean",
        help="missing values: fill in the mean and note where, leave such rows out, or refuse them",
    )
    add(
        "--missing-values",
        nargs="+",
        default=[],
        metavar="TEXT",
        help=f"what else stands for a missing value than {', '.join(filter(None, MISSING))}",
    )
    add(
        "--keep-na",
        action="store_true",
        help="NA, ? and so on are texts like any other: only an empty cell is missing",
    )
    add(
        "--rare-classes",
        choices=("error", "drop"),
        default="error",
        help="classes of one row: refuse them, or leave them out",
    )


def reading_of(args: argparse.Namespace) -> Reading:
    """Return what the user said about the file."""
    sign = args.separator
    if sign is not None and sign.lower() not in BY_NAME and (len(sign) != 1 or sign in '"\r\n'):
        raise InputError(f"--separator: expected a sign, tab or spaces, got {sign!r}")
    return Reading(args.separator, args.header, args.encoding, args.comment)


def choices_of(args: argparse.Namespace) -> Choices:
    """Return what the user said about columns and rows."""
    return Choices(
        args.label_column,
        args.drop,
        args.keep,
        args.missing,
        (*([""] if args.keep_na else MISSING), *args.missing_values),
        args.rare_classes,
    )
