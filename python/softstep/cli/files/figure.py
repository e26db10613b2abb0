"""What the pictures of the trainings share."""

from __future__ import annotations

from typing import Any

from softstep.cli.extras import demo_module

TRAIN, TEST, PENALTY = "#1f77b4", "#d95f02", "#7f7f7f"


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
    figure.suptitle(title)
    return figure


def finish(axes: Any) -> None:
    """Give ``axes`` the common dress."""
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    for line in axes.lines:
        # One epoch is a point, of which a line shows nothing.
        line.set_marker("o" if len(line.get_xdata()) == 1 else "")
