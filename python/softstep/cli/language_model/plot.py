"""The picture of a language model's training: the perplexity beside that of the unigrams."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from softstep.cli.files.figure import PENALTY, TEST, TRAIN, finish, new_figure
from softstep.cli.language_model.training import Measurement


def plot_lm(path: Path, history: Sequence[Measurement], unigram_loss: float, title: str) -> None:
    """Write the picture to ``path``: losses on the left, the same as perplexities on the right."""
    figure = new_figure((9, 5), title)
    axes = figure.subplots()
    steps = [checkpoint.step for checkpoint in history]
    axes.plot(steps, [checkpoint.train_loss for checkpoint in history], color=TRAIN, label="train")
    axes.plot(steps, [checkpoint.test_loss for checkpoint in history], color=TEST, label="held out")
    axes.axhline(unigram_loss, color=PENALTY, linestyle="--", label="held out, unigrams")
    axes.set_xlabel("step")
    axes.set_ylabel("loss, nats per word")
    finish(axes)
    second = axes.secondary_yaxis("right")
    lowest, highest = axes.get_ylim()
    whole = range(math.ceil(lowest * 4), math.floor(highest * 4) + 1)
    second.set_yticks([k / 4 for k in whole], [f"{math.exp(k / 4):.3g}" for k in whole])
    second.set_ylabel("perplexity")
    figure.savefig(path, dpi=150)
