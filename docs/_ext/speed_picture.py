"""The landing page's picture: some rows of the README's table of results, as bars.

Drawn for light and for dark pages before the pages are read, into _generated/.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).parents[1]
README = DOCS.parent / "README.md"
ROWS = (
    "cross-entropy + gradient, in place, f32 512 x 32000",
    "f32 8192 x 1000",
    "f32 65536 x 10",
    "logsumexp, f32 512 x 32000",
    "SGD step, 500 tensors of 1000",
    "MLP step 64-128-10, batch 64",
)
PEERS = ("PyTorch", "torch.compile", "JAX jit", "SciPy")
BARS = ("#dd8452", "#c44e52", "#55a868", "#64b5cd")
INKS = {"light": "#323232", "dark": "#ced6dd"}


def results(text: str) -> dict[str, dict[str, str]]:
    """Return the first table of the README's results: case -> column -> cell."""
    table = text.split("<!-- results: begin")[1].split("\n|", 1)[1].split("\n\n")[0]
    lines = [line.strip("|").split("|") for line in table.splitlines()]
    head, _, *body = [[cell.strip() for cell in line] for line in lines]
    return {row[0]: dict(zip(head, row, strict=True)) for row in body}


def draw(cases: dict[str, dict[str, str]], ink: str) -> Figure:
    """How many times longer the peers take, at their best: the first number of a cell.

    A case's name stands above its bars, so that the picture can be read on a phone too.
    """
    figure = Figure(figsize=(5.4, 5.6), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    top = 0
    for row in ROWS:
        name = f"cross-entropy + gradient, in place, {row}" if row.startswith("f32") else row
        axes.text(1.04, top, name, va="center", fontsize=9, color=ink)
        for peer, colour in zip(PEERS, BARS, strict=True):
            cell = re.match(r"[\d.]+", cases[row].get(peer, ""))
            if cell:
                top += 1
                times = float(cell[0])
                axes.barh(top, times, 0.9, color=colour)
                axes.text(times * 1.04, top, f"{times:g}", va="center", fontsize=8, color=ink)
        top += 1.5
    for peer, colour in zip(PEERS, BARS, strict=True):
        axes.barh(0, 0, color=colour, label=peer)
    axes.set(xscale="log", xlim=(1, 40), ylim=(top - 0.5, -0.8), yticks=[])
    axes.set_xticks([1, 2, 5, 10, 20], ["softstep", "2", "5", "10", "20"])
    axes.minorticks_off()
    axes.set_xlabel("times as long (logarithmic), each peer at its best", color=ink)
    figure.legend(loc="outside upper center", ncols=4, frameon=False, labelcolor=ink, fontsize=9)
    axes.tick_params(colors=ink, length=0)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("bottom", "left"))
        spine.set_color(ink)
    return figure


def on_start(app: Sphinx) -> None:
    cases = results(README.read_text("utf-8"))
    if missing := [row for row in ROWS if row not in cases]:
        raise ValueError(f"README.md: the table of results has no row {missing[0]!r}")
    folder = DOCS / "_generated"
    folder.mkdir(exist_ok=True)
    for theme, ink in INKS.items():
        figure = draw(cases, ink)
        figure.savefig(folder / f"speed-{theme}.svg", transparent=True, metadata={"Date": None})


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", on_start)
    return {"parallel_read_safe": True}
