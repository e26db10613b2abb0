"""``softstep info``: print the configuration."""

from __future__ import annotations

import argparse

import softstep as ss


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def run(args: argparse.Namespace) -> int:
    """Print version, ISA levels, threads and where their number comes from, compiler, backend."""
    print(ss.show_config())
    return 0
