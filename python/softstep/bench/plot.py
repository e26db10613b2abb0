"""The ratios as bars: each peer's time over softstep's, and softstep's share of the roofline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from softstep.bench.contender import BEST, PEERS, WRITTEN
from softstep.bench.report import own_entries, roofline_of, times_of

FORMATS = (".png", ".svg", ".pdf")

COLOURS = {
    "numpy": "#4c72b0",
    "scipy": "#64b5cd",
    "sklearn": "#ccb974",
    "torch": "#dd8452",
    "torch.compile": "#c44e52",
    "jax": "#55a868",
    "optax": "#8172b3",
}
OWN_COLOUR = "#333333"
BAR_INCHES, GAP_BARS = 0.14, 1.2


def plot_ratios(path: Path, document: Mapping[str, Any]) -> None:
    """Write the picture to ``path``."""
    # As it is written, top down; an axis counts upwards.
    groups = [_Group(case) for case in document["cases"]]
    groups = [group for group in groups if group.own]
    heights = [max(len(group.bars), 2) + GAP_BARS for group in groups]
    # Not pyplot: it would ask for a display and keep global state.
    figure = Figure(figsize=(12, 1.9 + BAR_INCHES * sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    top = 0.0
    centres = []
    for number, (group, height) in enumerate(zip(groups, heights, strict=True)):
        centre = top + height / 2
        centres.append(centre)
        if number % 2:
            for axes in (left, right):
                axes.axhspan(top, top + height, color="#f3f3f3", zorder=0, linewidth=0)
        _draw_ratios(left, group, centre)
        _draw_share(right, group, centre)
        top += height
    left.set_yticks(centres, [group.label for group in groups], fontsize=8)
    left.set_ylim(top, 0)
    _dress(left, right, document["environment"])
    used = [name for name in COLOURS if any(name in group.bars for group in groups)]
    handles: list[Any] = [Patch(color=COLOURS[name], label=PEERS[name].label) for name in used]
    mark = Line2D([], [], marker="|", color=OWN_COLOUR, linestyle="", markersize=7)
    mark.set_label("as users write it (bars: at its best)")
    handles.append(mark)
    figure.legend(handles=handles, loc="outside lower center", ncols=8, fontsize=8, frameon=False)
    figure.savefig(path, dpi=150)


class _Group:
    """The bars of one case."""

    def __init__(self, case: Mapping[str, Any]) -> None:
        entries = [entry for entry in own_entries(case) if entry["mode"] == BEST]
        self.own = entries[0] if entries else None
        self.roofline = roofline_of(case)
        detail = self.own["detail"] if self.own else ""
        self.label = f"{case['name']}\n{detail}, {_time(self.own)}"
        times = {name: times_of(case, name) for name in COLOURS}
        self.bars = {name: ways for name, ways in times.items() if ways}


def _time(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return ""
    milliseconds = entry["median_ms"]
    return f"{1e3 * milliseconds:.3g} µs" if milliseconds < 1 else f"{milliseconds:.3g} ms"


def _draw_ratios(axes: Any, group: _Group, centre: float) -> None:
    assert group.own
    first = centre - (len(group.bars) - 1) / 2
    for number, (name, ways) in enumerate(group.bars.items()):
        ratios = {
            mode: milliseconds / group.own["median_ms"] for mode, milliseconds in ways.items()
        }
        best = min(ratios.values())
        y = first + number
        # From 1 on: the length of the bar is how much faster softstep is.
        axes.barh(y, best - 1, left=1, height=0.86, color=COLOURS[name], zorder=2)
        if WRITTEN in ratios:
            axes.plot(ratios[WRITTEN], y, "|", color=OWN_COLOUR, markersize=7, zorder=3)
        # Beside the bar, or beyond the mark where that is in the way.
        written = ratios.get(WRITTEN, 0)
        end = max(1, written if 0.8 * best < written < 1.7 * best else best)
        text = f"{best:.1f}" if best < 10 else f"{best:.0f}"
        axes.annotate(
            text, (end, y), (5, 0), textcoords="offset points", va="center", fontsize=7, zorder=3
        )


def _draw_share(axes: Any, group: _Group, centre: float) -> None:
    if group.roofline is None or group.own is None:
        axes.text(2, centre, "-", va="center", fontsize=7, color="#777777")
        return
    share = 100 * group.roofline["median_ms"] / group.own["median_ms"]
    axes.barh(centre, share, height=1.7, color=OWN_COLOUR, zorder=2)
    inside = share > 55
    axes.annotate(
        f"{share:.0f} % of {group.roofline['detail']}",
        (min(share, 100), centre),
        (-5 if inside else 5, 0),
        textcoords="offset points",
        ha="right" if inside else "left",
        va="center",
        color="white" if inside else OWN_COLOUR,
        fontsize=7,
        zorder=3,
    )


def _dress(left: Any, right: Any, environment: Mapping[str, Any]) -> None:
    left.set_xscale("log")
    left.axvline(1, color=OWN_COLOUR, linewidth=1, zorder=4)
    left.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    left.xaxis.set_minor_formatter(NullFormatter())
    low, high = left.get_xlim()
    left.set_xlim(min(low, 0.8), max(high * 1.3, 3))
    left.set_xlabel("peer's median time / softstep's (right of 1: softstep is faster)")
    left.set_title(
        f"{environment['cpu']}, {environment['isa']}, {environment['threads']} threads",
        fontsize=9,
        loc="left",
    )
    right.set_xlim(0, 105)
    right.set_xlabel("softstep's share of the roofline, %")
    right.axvline(100, color=OWN_COLOUR, linewidth=1, zorder=4)
    for axes in (left, right):
        axes.grid(axis="x", color="#dddddd", linewidth=0.6, zorder=1)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelsize=8)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
