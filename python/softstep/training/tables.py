"""Tables on a terminal: by rich where it is installed, in plain text elsewhere."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Cells of text; the first column is aligned left, the others right."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    # Indices of rows that stand out.
    strong: frozenset[int] = frozenset()


def show(table: Table) -> None:
    """Print ``table`` on stdout."""
    if sys.stdout.isatty():
        try:
            _show_rich(table)
            return
        except ImportError:
            pass
    print(plain(table))


def plain(table: Table) -> str:
    """Return ``table`` as lines of text."""
    lines = [table.header, *table.rows]
    widths = [max(len(line[k]) for line in lines) for k in range(len(table.header))]

    def text(line: Sequence[str]) -> str:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        return "  ".join(cells).rstrip()

    return "\n".join([table.title, text(table.header), *map(text, table.rows), ""])


def _show_rich(table: Table) -> None:
    console = importlib.import_module("rich.console").Console()
    rich_table = importlib.import_module("rich.table").Table(
        title=table.title,
        title_justify="left",
        title_style="bold",
        box=importlib.import_module("rich.box").SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for k, name in enumerate(table.header):
        rich_table.add_column(name, justify="right" if k else "left", overflow="fold")
    escape = importlib.import_module("rich.markup").escape
    for number, row in enumerate(table.rows):
        style = "bold" if number in table.strong else None
        rich_table.add_row(*map(escape, row), style=style)
    console.print(rich_table)
