"""The two heads of the language model side by side: time, memory and results."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field

import softstep as ss
from softstep.cli.language_model.heads import DenseHead, FusedHead, Head
from softstep.cli.language_model.model import LanguageModel
from softstep.cli.language_model.training import Trainer
from softstep.training.memory import with_peak
from softstep.training.tables import Table

# Enough rows for the logits to be most of the memory.
ROWS, BATCHES = 2048, 6


@dataclass
class Measured:
    """A head on `BATCHES` batches of `ROWS` words: loss and gradients, without the update."""

    name: str
    head: Head
    # Of the first call, above what was in use before; None where the system cannot say.
    peak_bytes: int | None = None
    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)


def compare_heads(trainer: Trainer) -> list[Measured]:
    """Run both heads on the same batches, in turns."""
    parameters, context = trainer.model.parameters, trainer.settings.context
    contenders = [
        Measured("linear_cross_entropy", FusedHead()),
        Measured("dense logits", DenseHead(ROWS, len(trainer.corpus.vocabulary))),
    ]
    model = LanguageModel(parameters, ROWS, context, contenders[0].head)
    batches = [trainer.batch(ROWS) for _ in range(BATCHES)]
    model.loss_with_gradients(*batches[0])
    # The model's arrays are in memory now; the head's, as far as it keeps any, no longer.
    ss.release_workspace()
    for contender in contenders:
        model.head = contender.head
        _, contender.peak_bytes = with_peak(lambda: model.loss_with_gradients(*batches[0]))
    for batch in batches:
        for contender in contenders:
            model.head = contender.head
            start = time.perf_counter()
            contender.losses.append(model.loss_with_gradients(*batch))
            contender.seconds.append(time.perf_counter() - start)
    return contenders


def comparison_table(contenders: list[Measured]) -> Table:
    """Return a row for each head."""
    rows = [
        [
            each.name,
            f"{ROWS / statistics.median(each.seconds):.0f}",
            "" if each.peak_bytes is None else f"{each.peak_bytes / 2**20:.0f}",
            f"{statistics.fmean(each.losses):.6f}",
        ]
        for each in contenders
    ]
    title = f"Loss and gradients of the same {BATCHES} batches of {ROWS} words, in turns"
    return Table(title, ["", "rows/s", "more MiB", "mean loss"], rows)
