"""The command line: ``softstep train | predict | lm | bench | info``.

Each subcommand is a module here with ``add_arguments(parser)`` and ``run(args) -> int``, imported
only when it is asked for. It raises :class:`~softstep.cli.errors.CommandError` for what a user can
put right; that and nothing else becomes one line on stderr.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from softstep.cli.arguments import Parser
from softstep.cli.errors import CommandError, OtherRank
from softstep.cli.process.interrupts import Interrupted, interrupts_fatal, interrupts_raised
from softstep.cli.process.stdout import texts_escaped, writing_stdout

__all__ = ["main"]

COMMANDS = {
    "train": "train a classifier on the digits or on your file",
    "predict": "classify the rows of a file with saved weights",
    "lm": "train a language model on the standard library's sources or on your texts",
    "bench": "time the kernels against the installed peers and the memory roofline",
    "info": "print the configuration: version, ISA levels, threads, compiler",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (default: ``sys.argv[1:]``) and return the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    command = words[0] if words else ""
    if command not in COMMANDS:
        # Only --help, --version or a mistake is left: argparse answers each and exits.
        _overview().parse_args(words or ["--help"])
        return 2
    parser = Parser(prog=f"softstep {command}", description=f"{COMMANDS[command].capitalize()}.")
    try:
        # Nothing is to be cleaned up yet. And a launcher ends the other ranks for one that a signal
        # has ended; for one that ends by itself they wait in the start of MPI, without a time-out.
        with interrupts_fatal():
            module = importlib.import_module(f"softstep.cli.{command}")
            module.add_arguments(parser)
            args = parser.parse_args(words[1:])
        with interrupts_raised(), texts_escaped():
            status: int | None = module.run(args)
            with writing_stdout():
                sys.stdout.flush()
        return status or 0
    except OtherRank as error:
        return error.status
    except CommandError as error:
        print(f"softstep {command}: error: {error}", file=sys.stderr)
        return error.status
    except MemoryError as error:
        print(f"softstep {command}: error: not enough memory: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        from softstep.distributed.engines.launch import launched_rank

        # A command may say what it kept: `raise KeyboardInterrupt("in epoch 3: ...")`.
        if not launched_rank():
            print(*[f"softstep {command}: interrupted", *interrupt.args], file=sys.stderr)
        return interrupt.status if isinstance(interrupt, Interrupted) else 130
    except BrokenPipeError:
        # The reader went away (`softstep predict ... | head`): not an error. stdout is pointed at
        # nothing so that the interpreter's flush at exit does not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        print(f"softstep {command}: error: {error}", file=sys.stderr)
        return 1


def _overview() -> Parser:
    from softstep import __version__

    commands = "\n".join(f"  {name:<9}{text}" for name, text in COMMANDS.items())
    parser = Parser(
        prog="softstep",
        usage="softstep [--help | --version] COMMAND ...",
        description="From the softmax to the SGD step: CPU kernels for NumPy arrays.",
        epilog=f"commands:\n{commands}\n\n`softstep COMMAND --help` lists a command's options.",
    )
    parser.add_argument("--version", action="version", version=f"softstep {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="see below")
    return parser
