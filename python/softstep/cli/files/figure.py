"""What the pictures of the trainings share."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from softstep.cli.extras import demo_module

TRAIN, TEST, PENALTY = "#1f77b4", "#d95f02", "#7f7f7f"
STANDARD_FONT = "DejaVu Sans"


def require_matplotlib() -> None:
    """Fail before the training rather than after it."""
    demo_module("matplotlib.backends.backend_agg", "matplotlib", "--plot")


def new_figure(inches: tuple[float, float], title: str) -> Any:
    """Return an empty figure."""
    # Not pyplot: it would ask for a display and keep global state.
    agg = demo_module("matplotlib.backends.backend_agg", "matplotlib", "--plot")
    figure_module = demo_module("matplotlib.figure", "matplotlib", "--plot")
    figure = figure_module.Figure(figsize=inches, layout="constrained")
    agg.FigureCanvasAgg(figure)
    # A "$" in a name is one, and begins no formula.
    figure.suptitle(title, parse_math=False, fontfamily=fonts_for([title]))
    return figure


def drawn(picture: Path, draw: Callable[[], None]) -> str:
    """Call ``draw``, which writes ``picture``; return what went wrong: it costs nothing else."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            draw()
    except Exception as error:
        picture.unlink(missing_ok=True)
        return f"{picture.name}: cannot be drawn: {error}"
    return f"{picture.name}: {caught[0].message}" if caught else ""


def fonts_for(texts: Iterable[str]) -> list[str]:
    """Return the standard font and, if it lacks signs of ``texts``, one that has most of them."""
    manager = demo_module("matplotlib.font_manager", "matplotlib", "--plot")
    ft2font = demo_module("matplotlib.ft2font", "matplotlib", "--plot")

    def signs(path: str) -> set[int]:
        return set(ft2font.FT2Font(path).get_charmap())

    lacking = {ord(sign) for sign in "".join(texts)} - signs(manager.findfont(STANDARD_FONT))
    if not lacking:
        return [STANDARD_FONT]
    fonts = manager.fontManager.ttflist
    # The last resort has boxes for all signs.
    found = {font.name: font.fname for font in fonts if not font.name.startswith("Last Resort")}
    held = {name: len(lacking & signs(path)) for name, path in found.items()}
    return [STANDARD_FONT, *sorted(filter(held.get, held), key=held.__getitem__)[-1:]]


def finish(axes: Any) -> None:
    """Give ``axes`` the common dress."""
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    for line in axes.lines:
        # One epoch is a point, of which a line shows nothing.
        line.set_marker("o" if len(line.get_xdata()) == 1 else "")
