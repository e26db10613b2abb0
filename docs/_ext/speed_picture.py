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
    """Return the README's table: case -> column -> cell."""
    table = text.split("<!-- results: begin")[1].split("<!-- results: end")[0]
    lines = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    head, _, *body = [[cell.strip() for cell in line] for line in lines]
    return {row[0]: dict(zip(head, row, strict=True)) for row in body}


def draw(cases: dict[str, dict[str, str]], ink: str) -> Figure:
    """How many times longer the peers take, at their best: the first number of a cell."""
    figure = Figure(figsize=(8, 4.6), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    for place, row in enumerate(ROWS):
        cells = [(peer, cases[row].get(peer, "")) for peer in PEERS]
        bars = [
            (peer, float(match[0])) for peer, cell in cells if (match := re.match(r"[\d.]+", cell))
        ]
        for number, (peer, times) in enumerate(bars):
            y = place + (number - (len(bars) - 1) / 2) * 0.19
            axes.barh(y, times, 0.17, color=BARS[PEERS.index(peer)])
            axes.text(times * 1.04, y, f"{times:g}", va="center", fontsize=7, color=ink)
    for peer, colour in zip(PEERS, BARS, strict=True):
        axes.barh(0, 0, color=colour, label=peer)
    labels = [row.replace("cross-entropy + gradient, in place, ", "") for row in ROWS]
    labels = [f"cross-entropy, {label}" if label.startswith("f32") else label for label in labels]
    axes.set_yticks(range(len(ROWS)), labels, fontsize=9)
    axes.set(xscale="log", xlim=(1, 40), ylim=(len(ROWS) - 0.4, -0.6))
    axes.set_xticks([1, 2, 5, 10, 20], ["softstep = 1", "2", "5", "10", "20"])
    axes.minorticks_off()
    axes.set_xlabel("times as long (logarithmic), each peer at its best", color=ink)
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.4, 1.12), ncols=4, frameon=False, labelcolor=ink
    )
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
