"""Train an MLP: stochastic gradient descent on softmax, cross-entropy and an L2 penalty."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

import softstep as ss
from softstep.cli.classifier.held_out import HeldOut
from softstep.cli.classifier.plan import planned
from softstep.cli.classifier.records import Epoch, Position, Settings
from softstep.cli.classifier.report import Counts, confusion_matrix
from softstep.cli.data.labels import Indices
from softstep.cli.data.split import Problem
from softstep.cli.errors import Diverged
from softstep.cli.files.archive import array_of, json_of
from softstep.cli.files.checkpoint import rows_of, table_of
from softstep.cli.files.npy import Arrays
from softstep.distributed import Communicator, ShardedOptimizer, Single, even_shard
from softstep.training.batches import Batch, Samples
from softstep.training.network import MLP, Floats, initial_parameters
from softstep.training.schedules import SCHEDULES

ALONE = Single()
# A loss that falls by less does not fall.
TOLERANCE = 1e-4
# A loss so many times that of guessing is not one that is on its way down.
LOST = 2.0


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
        self.sizes = [problem.features.shape[1], *settings.hidden, len(problem.classes)]
        self.weights, self.biases = initial_parameters(self.sizes, rng)
        self.rng = rng
        self.guessing, self.majority = _shares(settings, problem)
        self.plan = planned(settings, self.samples, self.weights, self.biases, comm)
        most = math.ceil(self.plan.batch_size / comm.size)
        # The penalty is on the weights alone: a bias makes no function wilder.
        groups: list[dict[str, Any]] = [
            {"params": self.weights, "weight_decay": self.plan.weight_decay},
            {"params": self.biases},
        ]
        self.optimiser = ShardedOptimizer(
            groups, ss.SGD, self.plan.lr, comm=comm, momentum=settings.momentum
        )
        self.model = MLP(self.weights, self.biases, most, gradients=True)
        # Where a step takes them without a copy.
        layers, gradients = len(self.weights), self.optimiser.grads
        self.model.weight_gradients = gradients[:layers]
        self.model.bias_gradients = gradients[layers:]
        self.test = HeldOut(problem, problem.test, self.weights, self.biases, comm)
        self.validation = (
            HeldOut(problem, problem.validation, self.weights, self.biases, comm)
            if len(problem.validation)
            else None
        )
        self.batch = Batch.of(self.samples, most)
        self.predictions = np.empty(most, np.intp)
        self.epoch_steps = math.ceil(len(problem.train) / self.plan.batch_size)
        steps = self.plan.epochs * self.epoch_steps
        self.rate = SCHEDULES[settings.schedule](self.plan.lr, steps)
        self.history: list[Epoch] = []
        self.position = Position(rng=rng.bit_generator.state)
        # The parameters of the best epoch, where there are rows to tell it by.
        self.best: list[Floats] = []

    @property
    def finished(self) -> bool:
        """Whether there is no epoch left, or no gain in another one."""
        at = self.position
        return at.epoch > self.plan.epochs or at.stalled >= self.settings.patience

    def epochs(self, control: Control) -> Iterator[Epoch]:
        """Train from where it is, with ``control`` after each step; yield after each epoch.

        After the last one the parameters are those of the best.
        """
        while not self.finished:
            # Divergence is reported as such, not as NumPy's warnings.
            with np.errstate(over="ignore", invalid="ignore"):
                epoch = self._epoch(control)
            if self.finished:
                self._finish(epoch)
            yield epoch

    def _finish(self, last: Epoch) -> None:
        """Take the best parameters; raise if the training left the way and did not come back.

        Not earlier: a rate that is too high at first may fall to one that is not.
        """
        highest = max(epoch.data_loss for epoch in self.history)
        if highest > LOST * self.guessing and last.data_loss >= self.guessing:
            raise self._diverged(last.data_loss, last.epoch)
        for values, best in zip(self._arrays(), self.best, strict=False):
            values[...] = best

    def kept(self) -> list[Floats]:
        """Return copies of the parameters that are to be kept so far, weights and then biases."""
        return [values.copy() for values in self.best or self._arrays()]

    def _epoch(self, control: Control) -> Epoch:
        at, count, size = self.position, len(self.samples.rows), self.plan.batch_size
        self.rng.bit_generator.state = at.rng
        order = self.rng.permutation(self.samples.rows)
        while at.rows < count:
            rows = order[at.rows : at.rows + size]
            stop, save = self._step(rows, control)
            control.after_step(len(rows), stop, save)
        smoothing = self.settings.label_smoothing
        test = self.test.evaluate(smoothing)
        validation = math.nan if self.validation is None else self._validate(self.validation)
        epoch = Epoch(
            epoch=at.epoch,
            lr=self.rate((at.epoch - 1) * self.epoch_steps),
            data_loss=at.loss_sum / count,
            # weight_decay is 2 lambda: the derivative of lambda ||w||^2 is 2 lambda w.
            l2_penalty=ss.l2_penalty(self.weights, self.plan.weight_decay / 2),
            train_accuracy=at.correct / count,
            test_loss=test.loss,
            test_accuracy=test.hits / self.test.total,
            validation_loss=validation,
            rows_per_second=count / at.seconds,
        )
        self.history.append(epoch)
        self.position = Position(
            at.epoch + 1,
            rng=self.rng.bit_generator.state,
            best=at.best,
            best_epoch=at.best_epoch,
            stalled=at.stalled,
        )
        return epoch

    def _validate(self, validation: HeldOut) -> float:
        """Return the loss of the rows to stop by; keep the parameters if it is the lowest."""
        at, loss = self.position, validation.evaluate(self.settings.label_smoothing).loss
        at.stalled = 0 if loss < at.best - TOLERANCE else at.stalled + 1
        if loss < at.best:
            at.best, at.best_epoch = loss, at.epoch
            self.best = [values.copy() for values in self._arrays()]
        return loss

    def _diverged(self, loss: float, epoch: int) -> Diverged:
        return Diverged(
            f"the training diverged: the loss is {loss:.4g} in epoch {epoch}, "
            f"that of the classes' shares alone {self.guessing:.4g}: expected less: try a smaller "
            f"--lr than {self.plan.lr:.3g}, or leave it out"
        )

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
            raise self._diverged(loss, at.epoch)
        rate = self.rate((at.epoch - 1) * self.epoch_steps + at.rows // self.plan.batch_size)
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

    def outcome(self) -> tuple[float, Counts]:
        """Return the log loss of the rows to test on, and those of class i predicted as j."""
        result = self.test.evaluate()
        matrix = confusion_matrix(self.test.labels, result.predictions, self.sizes[-1])
        self.comm.all_reduce(matrix)
        return result.loss, matrix

    def state(self) -> Arrays:
        """Return all that `restore` needs to go on from here with the same bits."""
        arrays = {
            "position": np.array(json.dumps(asdict(self.position))),
            "history": table_of(self.history, Epoch),
        }
        for name, values in self._parameters():
            arrays[name] = values
        for (name, _), values in zip(self._parameters(), self.best, strict=False):
            arrays[f"best.{name}"] = values
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
            np.copyto(values, array_of(arrays, name, values.dtype, values.shape))
        if any(name.startswith("best.") for name in arrays):
            self.best = [
                array_of(arrays, f"best.{name}", values.dtype, values.shape)
                for name, values in self._parameters()
            ]
        self.history = [
            Epoch(int(number), *rest) for number, *rest in rows_of(arrays, "history", Epoch)
        ]
        self.position = Position(**json_of(arrays, "position"))
        # That it is one of the generator's.
        self.rng.bit_generator.state = self.position.rng

    def _parameters(self) -> Iterator[tuple[str, Floats]]:
        """Every array that is trained, by its name in a file."""
        for kind, arrays in (("weight", self.weights), ("bias", self.biases)):
            yield from ((f"{kind}{layer}", array) for layer, array in enumerate(arrays))

    def _arrays(self) -> list[Floats]:
        return [*self.weights, *self.biases]


def _shares(settings: Settings, problem: Problem) -> tuple[float, int]:
    """Return the loss of a model that knows the classes' shares alone, and the largest class."""
    classes, labels = len(problem.classes), problem.labels[problem.train]
    shares = np.bincount(labels, minlength=classes) / len(labels)
    smoothing = settings.label_smoothing
    targets = (1 - smoothing) * shares + smoothing / classes
    targets = targets[targets > 0]
    return -float(np.sum(targets * np.log(targets))), int(np.argmax(shares))
