"""The picture of scaling.py: ns per element over rows and over classes, and the second thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLOURS = ["#0b5394", "#e07b00", "#38761d"]
Points = Sequence[Mapping[str, Any]]


def threads_of(points: Points) -> list[int]:
    return sorted({int(name.rsplit(" ", 1)[1]) for name in points[0]["ns"]})


def series(points: Points, name: str) -> list[float]:
    return [point["ns"][name][0] if name in point["ns"] else float("nan") for point in points]


def draw_times(axes: Axes, points: Points, x: Sequence[float]) -> None:
    for colour, threads in zip(COLOURS, threads_of(points), strict=False):
        words = f"{threads} thread{'s' if threads > 1 else ''}"
        own, roofline = (series(points, f"{n}, {threads}") for n in ("softstep", "roofline"))
        axes.loglog(x, own, color=colour, marker="o", markersize=3, label=f"softstep, {words}")
        axes.loglog(x, roofline, color=colour, linestyle=":", label=f"x *= -1, {words}")
    axes.set_ylabel("ns per element")
    axes.legend(frameon=False, fontsize=8)


def draw_gain(axes: Axes, curves: Mapping[str, tuple[Points, Sequence[float]]]) -> None:
    for colour, (label, (points, x)) in zip(COLOURS, curves.items(), strict=False):
        one, all_ = threads_of(points)[0], threads_of(points)[-1]
        pairs = zip(
            series(points, f"softstep, {one}"), series(points, f"softstep, {all_}"), strict=True
        )
        gain = [single / several for single, several in pairs]
        axes.semilogx(x, gain, color=colour, marker="o", markersize=3, label=label)
    axes.axhline(1, color="0.6", linewidth=1)
    axes.set(xlabel="bytes of the logits", ylabel="gain of the second thread", ylim=(0.5, None))
    axes.legend(frameon=False, fontsize=8)


def mark(axes: Axes, at: float, words: str) -> None:
    axes.axvline(at, color="0.75", linewidth=0.8)
    axes.text(
        at,
        0.02,
        words,
        rotation=90,
        fontsize=7,
        color="0.4",
        ha="right",
        va="bottom",
        transform=axes.get_xaxis_transform(),
    )


def plot(path: Path, document: Mapping[str, Any]) -> None:
    curves = document["curves"]
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3)

    rows, few = curves["rows"], curves["rows of 10"]
    draw_times(left, rows, [point["shape"][0] for point in rows])
    left.set(xlabel="rows of 1000 classes", title="rows")
    for size, words in ((1 << 20, "L2"), (1 << 25, "L3")):
        mark(left, size / 4000, words)

    classes = curves["classes"]
    draw_times(middle, classes, [point["shape"][1] for point in classes])
    middle.set(xlabel="classes (16 Mi elements in all)", title="classes")
    mark(middle, 64.5, "one row per lane")

    draw_gain(
        right,
        {
            "1000 classes": (rows, [point["bytes"] for point in rows]),
            "10 classes": (few, [point["bytes"] for point in few]),
        },
    )
    right.set_title("threads")
    for axes in (left, middle, right):
        axes.grid(color="#ececec")
        axes.spines[["top", "right"]].set_visible(False)
    environment = document["environment"]
    figure.suptitle(
        f"cross-entropy with gradient, float32, in place; {environment['cpu']}, "
        f"{environment['cpus']} cores, {environment['isa']}",
        fontsize=10,
    )
    figure.savefig(path, dpi=110)
