"""Train an MLP: stochastic gradient descent on softmax, cross-entropy and an L2 penalty."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, astuple
from typing import Any

import numpy as np

import softstep as ss
from softstep.cli.classifier.records import Epoch, Position, Settings
from softstep.cli.classifier.report import Counts, confusion_matrix
from softstep.cli.data.labels import Indices
from softstep.cli.data.split import Problem
from softstep.cli.errors import Diverged
from softstep.cli.files.archive import Arrays
from softstep.distributed import Communicator, ShardedOptimizer, Single, even_shard
from softstep.training.batches import Batch, Samples
from softstep.training.evaluation import evaluator, logits_by_part
from softstep.training.network import MLP, Floats, initial_parameters
from softstep.training.schedules import SCHEDULES

ALONE = Single()


class Control:
    """What the outside has a say in between two steps; says nothing."""

    def wishes(self) -> tuple[bool, bool]:
        """Return whether this rank wants the training to stop, and to be saved, after the step."""
        return False, False

    def after_step(self, rows: int, stop: bool, save: bool) -> None:
        """``rows`` more rows have been trained on. What one rank wishes, all are told here."""


class Trainer:
    """One training run; ``epochs`` runs it, ``weights`` and ``biases`` are what it trains.

    Every rank of ``comm`` has the whole problem and the same generator, takes its part of the rows
    of each batch, and has the whole of the weights after each step.
    """

    def __init__(
        self,
        settings: Settings,
        problem: Problem,
        rng: np.random.Generator,
        comm: Communicator = ALONE,
    ) -> None:
        self.settings = settings
        self.comm = comm
        self.samples = Samples(problem.features, problem.labels, None, problem.train)
        held_out = even_shard(len(problem.test), comm)
        self.test_rows = held_out.total
        rows = problem.test[held_out.begin : held_out.end]
        self.test_features, self.test_labels = problem.features[rows], problem.labels[rows]
        self.sizes = [problem.features.shape[1], *settings.hidden, len(problem.classes)]
        self.weights, self.biases = initial_parameters(self.sizes, rng)
        self.rng = rng
        count = len(problem.train)
        self.batch_rows = min(settings.batch_size, count)
        most = math.ceil(self.batch_rows / comm.size)
        # The penalty is on the weights alone: a bias makes no function wilder.
        groups: list[dict[str, Any]] = [
            {"params": self.weights, "weight_decay": settings.weight_decay},
            {"params": self.biases},
        ]
        self.optimiser = ShardedOptimizer(
            groups, ss.SGD, settings.lr, comm=comm, momentum=settings.momentum
        )
        self.model = MLP(self.weights, self.biases, most, gradients=True)
        # Where a step takes them without a copy.
        layers, gradients = len(self.weights), self.optimiser.grads
        self.model.weight_gradients = gradients[:layers]
        self.model.bias_gradients = gradients[layers:]
        self.evaluator = evaluator(self.weights, self.biases, len(self.test_labels))
        self.batch = Batch.of(self.samples, most)
        self.predictions = np.empty(most, np.intp)
        self.epoch_steps = math.ceil(count / self.batch_rows)
        self.rate = SCHEDULES[settings.schedule](settings.lr, settings.epochs * self.epoch_steps)
        self.history: list[Epoch] = []
        self.position = Position(rng=rng.bit_generator.state)

    def epochs(self, control: Control) -> Iterator[Epoch]:
        """Train from where it is, with ``control`` after each step; yield after each epoch."""
        while self.position.epoch <= self.settings.epochs:
            # Divergence is reported as such, not as NumPy's warnings.
            with np.errstate(over="ignore", invalid="ignore"):
                epoch = self._epoch(control)
            yield epoch

    def _epoch(self, control: Control) -> Epoch:
        at, count, size = self.position, len(self.samples.rows), self.batch_rows
        self.rng.bit_generator.state = at.rng
        order = self.rng.permutation(self.samples.rows)
        while at.rows < count:
            rows = order[at.rows : at.rows + size]
            stop, save = self._step(rows, control)
            control.after_step(len(rows), stop, save)
        test_loss, hits, _ = self._evaluate()
        epoch = Epoch(
            epoch=at.epoch,
            lr=self.rate((at.epoch - 1) * self.epoch_steps),
            data_loss=at.loss_sum / count,
            # weight_decay is 2 lambda: the derivative of lambda ||w||^2 is 2 lambda w.
            l2_penalty=ss.l2_penalty(self.weights, self.settings.weight_decay / 2),
            train_accuracy=at.correct / count,
            test_loss=test_loss / self.test_rows,
            test_accuracy=hits / self.test_rows,
            rows_per_second=count / at.seconds,
        )
        self.history.append(epoch)
        self.position = Position(at.epoch + 1, rng=self.rng.bit_generator.state)
        return epoch

    def _step(self, rows: Indices, control: Control) -> tuple[bool, bool]:
        """Make one step on ``rows``, move the position behind it, and return all ranks' wishes."""
        start, at = time.perf_counter(), self.position
        own = self._own(rows)
        features, labels, _ = self.batch.take(self.samples, own)
        predictions = self.predictions[: len(own)]
        logits = self.model.forward(features)
        np.argmax(logits, axis=1, out=predictions)
        loss, dlogits = ss.cross_entropy_with_grad(
            logits,
            labels,
            label_smoothing=self.settings.label_smoothing,
            denominator=len(rows),
            out=logits,
        )
        hits = np.count_nonzero(predictions == labels)
        if self.comm.size > 1:
            sums = np.array([loss, hits, *control.wishes()], np.float64)
            pending = self.comm.start_all_reduce(sums)
            self.model.backward(dlogits)
            pending.wait()
            loss, hits, stop, save = sums.tolist()
        else:
            self.model.backward(dlogits)
            stop, save = control.wishes()
        if not math.isfinite(loss):
            raise Diverged(
                f"the training diverged: the loss is {loss} in epoch {at.epoch}; "
                f"expected a finite loss: try a smaller --lr than {self.settings.lr:g}"
            )
        rate = self.rate((at.epoch - 1) * self.epoch_steps + at.rows // self.batch_rows)
        self.optimiser.step(lr=rate)
        at.loss_sum += float(loss) * len(rows)
        at.correct += int(hits)
        at.rows += len(rows)
        at.seconds += time.perf_counter() - start
        return bool(stop), bool(save)

    def _own(self, rows: Indices) -> Indices:
        """Return this rank's part of the rows of a batch."""
        if self.comm.size == 1:
            return rows
        part = even_shard(len(rows), self.comm)
        return rows[part.begin : part.end]

    def _evaluate(self) -> tuple[float, int, Indices]:
        """Return the data loss and the hits, summed over all held-out rows; this rank's classes."""
        count = len(self.test_labels)
        predictions = np.empty(count, np.int64)
        loss_sum = 0.0
        for part, logits in logits_by_part(self.evaluator, self.test_features):
            np.argmax(logits, axis=1, out=predictions[part])
            loss = ss.cross_entropy(
                logits,
                self.test_labels[part],
                label_smoothing=self.settings.label_smoothing,
                reduction="sum",
            )
            loss_sum += float(loss)
        sums = np.array([loss_sum, np.count_nonzero(predictions == self.test_labels)], np.float64)
        self.comm.all_reduce(sums)
        return float(sums[0]), int(sums[1]), predictions

    def confusion(self) -> Counts:
        """Return the numbers of held-out rows of true class i that are predicted as class j."""
        matrix = confusion_matrix(self.test_labels, self._evaluate()[2], self.sizes[-1])
        self.comm.all_reduce(matrix)
        return matrix

    def state(self) -> Arrays:
        """Return all that `restore` needs to go on from here with the same bits."""
        arrays = {
            "position": np.array(json.dumps(asdict(self.position))),
            "history": np.array([astuple(epoch) for epoch in self.history], np.float64),
        }
        for name, values in self._parameters():
            arrays[name] = values
        for name, value in self.optimiser.state_dict().items():
            arrays[f"optimizer.{name}"] = np.asarray(value)
        return arrays

    def restore(self, arrays: Arrays) -> None:
        """Go to where `state` was called; ValueError or KeyError if ``arrays`` are not its."""
        optimiser = {
            name.removeprefix("optimizer."): value
            for name, value in arrays.items()
            if name.startswith("optimizer.")
        }
        self.optimiser.load_state_dict(optimiser)
        for name, values in self._parameters():
            if arrays[name].shape != values.shape:
                raise ValueError(f"{name}: expected {values.shape}, got {arrays[name].shape}")
            np.copyto(values, arrays[name], casting="no")
        self.history = [Epoch(int(number), *rest) for number, *rest in arrays["history"].tolist()]
        self.position = Position(**json.loads(str(arrays["position"])))

    def _parameters(self) -> Iterator[tuple[str, Floats]]:
        """Every array that is trained, by its name in a file."""
        for kind, arrays in (("weight", self.weights), ("bias", self.biases)):
            yield from ((f"{kind}{layer}", array) for layer, array in enumerate(arrays))
