"""The picture of a training: learning curves and the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from softstep.cli.classifier.records import Epoch
from softstep.cli.classifier.report import Counts, accuracy, short, shown_classes
from softstep.cli.files.figure import PENALTY, TEST, TRAIN, finish, fonts_for, new_figure

# More classes than this: numbers in the cells would overlap.
NUMBERED_CLASSES = 25
# Points of the names then.
SMALL = 6
# Columns of a name that leave room for the picture.
NAME_WIDTH = 20
OTHERS = "all others"


def plot_training(
    path: Path, history: Sequence[Epoch], confusion: Counts, classes: Sequence[str], title: str
) -> None:
    """Write the picture to ``path``."""
    figure = new_figure((12, 6), title)
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.1), wspace=0.03)
    upper, lower = left.subplots(2, 1, sharex=True)
    _plot_losses(upper, history)
    _plot_accuracies(lower, history)
    _plot_confusion(right, right.subplots(), confusion, classes)
    figure.savefig(path, dpi=150)


def _plot_losses(axes: Any, history: Sequence[Epoch]) -> None:
    epochs = [epoch.epoch for epoch in history]
    axes.plot(epochs, [epoch.data_loss for epoch in history], color=TRAIN, label="train")
    axes.plot(epochs, [epoch.test_loss for epoch in history], color=TEST, label="held out")
    if any(epoch.l2_penalty for epoch in history):
        penalty = [epoch.l2_penalty for epoch in history]
        axes.plot(epochs, penalty, color=PENALTY, linestyle="--", label=r"$\lambda\|w\|^2$")
    axes.set_ylabel("loss")
    axes.set_ylim(bottom=0)
    finish(axes)


def _plot_accuracies(axes: Any, history: Sequence[Epoch]) -> None:
    epochs = [epoch.epoch for epoch in history]
    test = [epoch.test_accuracy for epoch in history]
    axes.plot(epochs, [epoch.train_accuracy for epoch in history], color=TRAIN, label="train")
    axes.plot(epochs, test, color=TEST, label="held out")
    # The first epochs would flatten the rest: show what follows them in full height.
    settled = sorted(test)[len(test) // 4]
    axes.set_ylim(max(0.0, 1 - 4 * (1 - settled) - 0.01), 1.005)
    axes.set_ylabel("accuracy")
    axes.set_xlabel("epoch")
    axes.locator_params(axis="x", integer=True)
    finish(axes)


def _plot_confusion(figure: Any, axes: Any, confusion: Counts, classes: Sequence[str]) -> None:
    shown = shown_classes(confusion)
    names = [short(classes[k], NAME_WIDTH) for k in shown]
    if len(shown) < len(classes):
        names.append(OTHERS)
    counts = gathered(confusion, shown)
    # Coloured by the part of the true class, so that rare classes are as visible as frequent ones.
    share = counts / counts.sum(axis=1, keepdims=True).clip(1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    which = f"{len(shown)} of {len(classes)} classes, " if len(shown) < len(classes) else ""
    axes.set_title(f"{which}held-out rows, accuracy {accuracy(confusion):.4f}")
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    figure.colorbar(image, ax=axes, label="part of the true class", shrink=0.8)
    # A "$" is one, and begins no formula.
    style: dict[str, Any] = {"parse_math": False, "fontfamily": fonts_for(names)}
    if len(names) > NUMBERED_CLASSES:
        style["fontsize"] = SMALL
    slanted = {"rotation": 45, "ha": "right"} if max(map(len, names)) > 3 else {}
    axes.set_xticks(range(len(names)), names, **style, **slanted)
    axes.set_yticks(range(len(names)), names, **style)
    if len(names) <= NUMBERED_CLASSES:
        _write_counts(axes, counts[: len(shown), : len(shown)], share)


def _write_counts(axes: Any, counts: Counts, share: Any) -> None:
    for true, row in enumerate(counts):
        for predicted, count in enumerate(row):
            if count:
                light = "black" if true == predicted else TEST
                color = "white" if share[true, predicted] > 0.5 else light
                style = {"color": color, "weight": "bold", "ha": "center", "va": "center"}
                axes.text(predicted, true, str(count), **style)


def gathered(confusion: Counts, shown: Sequence[int]) -> Counts:
    """Return the counts of the classes ``shown``, and of all others as one."""
    if len(shown) == len(confusion):
        return confusion
    counts = np.empty((len(shown) + 1,) * 2, np.int64)
    counts[:-1, :-1] = confusion[np.ix_(shown, shown)]
    counts[:-1, -1] = confusion[shown].sum(axis=1) - counts[:-1, :-1].sum(axis=1)
    counts[-1, :-1] = confusion[:, shown].sum(axis=0) - counts[:-1, :-1].sum(axis=0)
    counts[-1, -1] = confusion.sum() - counts[:-1].sum() - counts[-1, :-1].sum()
    return counts
