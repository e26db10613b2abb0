"""``softstep bench``: time the kernels against the installed peers and the memory roofline."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from softstep.bench import report
from softstep.bench.cases import FAMILIES, Case, select
from softstep.bench.measure import Settings
from softstep.bench.peers import SELECTABLE
from softstep.bench.processes import run_bench
from softstep.bench.session import Session
from softstep.cli import arguments as arg
from softstep.cli.errors import InputError, RunError
from softstep.training.tables import show

FULL = Settings()
QUICK = Settings(repeats=4, sample_s=0.002, case_s=2.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``softstep bench``."""
    parser.epilog = (
        f"families: {', '.join(FAMILIES)} (--list names the cases)\n"
        f"peers: {', '.join(SELECTABLE)}\n\n"
        "A contender is timed only after its result has been compared with a float64 reference.\n"
        "benchmarks/README.md says how to read the tables. Ctrl-C keeps the finished cases."
    )
    add = parser.add_argument
    add("--cases", nargs="+", default=[], metavar="CASE", help="cases or families; default: all")
    add(
        "--peers",
        nargs="+",
        default=[],
        metavar="PEER",
        help="libraries to compare with, or none; default: all that are installed",
    )
    add("--list", action="store_true", help="print the cases and stop")
    add("--quick", action="store_true", help="few, short samples: to see that everything works")
    add("--repeats", type=arg.whole(2), metavar="N", help=f"samples; default: {FULL.repeats}")
    add(
        "--seconds",
        type=arg.POSITIVE,
        metavar="S",
        help=f"stop a case after this, with fewer samples; default: {FULL.case_s:g}",
    )
    add(
        "--threads",
        type=arg.whole(1),
        metavar="N",
        help="CPUs that the whole process may use; default: as every library decides by itself",
    )
    add("--no-alone", action="store_true", help="no second run, without peers in the process")
    add("--json", type=Path, metavar="FILE", help="write everything that was measured")
    add("--plot", type=Path, metavar="FILE", help="draw the ratios: .png, .svg or .pdf")


def run(args: argparse.Namespace) -> int:
    """Measure, print, write."""
    try:
        cases = select(_words(args.cases))
    except LookupError as error:
        raise InputError(f"--cases: {error.args[0]} (--list names all)") from error
    if args.list:
        _list(cases)
        return 0
    peers = _peers(_words(args.peers))
    _check_output("--json", args.json)
    _check_output("--plot", args.plot)
    if args.plot:
        _check_plot(args.plot)
    cpus = len(os.sched_getaffinity(0))
    if args.threads is not None and args.threads > cpus:
        raise InputError(f"--threads: expected at most the {cpus} CPUs here, got {args.threads}")
    if args.threads is not None:
        return run_bench(_command(args, cases, peers), args.threads)
    _measure(args, cases, peers)
    return 0


def _measure(args: argparse.Namespace, cases: Sequence[Case], peers: Sequence[str]) -> None:
    settings = _settings(args)
    session = Session(cases, peers, settings)
    document = session.document
    print("\n".join(report.environment_lines(document)), end="\n\n", flush=True)
    interrupt = None
    try:
        if peers and not args.no_alone:
            session.run_alone(_amounts(settings))
        session.run(_show_case)
    except KeyboardInterrupt as error:
        interrupt = error
    if document["cases"]:
        _publish(document, args)
    if interrupt:
        finished = f"{len(document['cases'])} of {len(cases)} cases were finished"
        interrupt.args = (finished,)
        raise interrupt
    if mistakes := session.own_mistakes():
        raise RunError(f"softstep itself was not right: {'; '.join(mistakes)}")


def _show_case(case: dict[str, Any]) -> None:
    show(report.case_table(case))
    print("\n".join(report.case_notes(case)), end="\n\n", flush=True)


def _publish(document: dict[str, Any], args: argparse.Namespace) -> None:
    for cold in (False, True):
        show(report.summary_table(document["cases"], cold))
    print("\n".join(report.closing_lines(document)))
    if args.json:
        args.json.write_text(json.dumps(document, indent=1) + "\n")
    if args.plot:
        from softstep.bench.plot import plot_ratios

        plot_ratios(args.plot, document)


def _list(cases: Sequence[Case]) -> None:
    width = max(len(case.name) for case in cases)
    for case in cases:
        print(f"{case.name:<{width}}  {case.title}")


def _settings(args: argparse.Namespace) -> Settings:
    base = QUICK if args.quick else FULL
    return Settings(args.repeats or base.repeats, base.sample_s, args.seconds or base.case_s)


def _amounts(settings: Settings) -> list[str]:
    """Return the words that mean ``settings``."""
    quick = ["--quick"] if settings.sample_s == QUICK.sample_s else []
    return [*quick, "--repeats", str(settings.repeats), "--seconds", str(settings.case_s)]


def _command(args: argparse.Namespace, cases: Sequence[Case], peers: Sequence[str]) -> list[str]:
    """Return the words that mean ``args``, but for --threads."""
    words = [*_amounts(_settings(args)), "--cases", *(case.name for case in cases)]
    words += ["--peers", *(peers or ["none"])]
    for option, path in (("--json", args.json), ("--plot", args.plot)):
        words += [option, str(path)] if path else []
    return [*words, "--no-alone"] if args.no_alone else words


def _words(values: Sequence[str]) -> list[str]:
    """Split ``a,b c`` into words."""
    return [word for value in values for word in value.split(",") if word]


def _peers(names: Sequence[str]) -> list[str]:
    if list(names) == ["none"]:
        return []
    for name in names:
        if name not in SELECTABLE:
            raise InputError(
                f"--peers: expected none or some of {', '.join(SELECTABLE)}, got {name!r}"
            )
    return [name for name in SELECTABLE if name in names or not names]


def _check_output(option: str, path: Path | None) -> None:
    """Find out before the measurement rather than after it."""
    if path is None:
        return
    if path.is_dir() or not path.parent.is_dir():
        raise InputError(f"{option}: expected a file in an existing folder, got {path}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise InputError(f"{option}: {path}: cannot be written to")


def _check_plot(path: Path) -> None:
    try:
        from softstep.bench.plot import FORMATS
    except ImportError as error:
        raise InputError(
            f'--plot needs matplotlib: pip install "softstep[bench]" ({error})'
        ) from error
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"--plot: expected a name that ends in {', '.join(FORMATS)}, got {path}")
