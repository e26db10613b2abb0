"""Rows that are not trained on: their loss, and their predictions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import softstep as ss
from softstep.cli.data.labels import Indices
from softstep.cli.data.split import Problem
from softstep.distributed import Communicator, even_shard
from softstep.training.evaluation import evaluator, logits_by_part
from softstep.training.network import MLP, Floats


@dataclass(frozen=True)
class Result:
    """The mean loss and the hits over the rows of all ranks, and the classes of this one's."""

    loss: float
    hits: int
    predictions: Indices


class HeldOut:
    """The part of a rank in some rows, evaluated with the parameters as they are at the time."""

    def __init__(
        self,
        problem: Problem,
        rows: Indices,
        weights: list[Floats],
        biases: list[Floats],
        comm: Communicator,
    ) -> None:
        part = even_shard(len(rows), comm)
        own = rows[part.begin : part.end]
        self.total = part.total
        self.labels = problem.labels[own]
        self._features = problem.features[own]
        self._network: MLP = evaluator(weights, biases, len(own))
        self._comm = comm

    def evaluate(self, label_smoothing: float = 0.0) -> Result:
        """Return the result; the ranks wait for each other."""
        predictions = np.empty(len(self.labels), np.int64)
        loss_sum = 0.0
        for part, logits in logits_by_part(self._network, self._features):
            np.argmax(logits, axis=1, out=predictions[part])
            loss = ss.cross_entropy(
                logits, self.labels[part], label_smoothing=label_smoothing, reduction="sum"
            )
            loss_sum += float(loss)
        sums = np.array([loss_sum, np.count_nonzero(predictions == self.labels)], np.float64)
        self._comm.all_reduce(sums)
        return Result(float(sums[0]) / self.total, int(sums[1]), predictions)
