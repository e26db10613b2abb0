"""From an estimator's parameters to trained layers: optimizer, rate, stopping, progress."""

import math
import time
import warnings
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

import softstep as ss
from softstep.training.batches import Samples
from softstep.training.evaluation import mean_loss
from softstep.training.progress import open_progress
from softstep.training.rate import sgd_rate
from softstep.training.step import Layers, Plan, train

BATCH_SIZE = 128
ADAMW_RATE = 1e-3


def fit_epochs(options: Any, layers: Layers, samples: Samples, rng: np.random.Generator) -> None:
    """Train the layers for up to ``max_iter`` epochs; raise ValueError if that diverges."""
    held_out = None
    if options.early_stopping:
        samples, held_out = _split(samples, options.validation_fraction, rng)
    falls = options.learning_rate == "cosine"
    optimizer, plan = _prepared(options, layers, samples, options.max_iter, falls)
    best, best_layers, stalled = math.inf, None, 0
    count, start = len(samples.rows), time.perf_counter()
    bar = open_progress("epoch", plan.max_iter, plan.max_iter * count, quiet=not options.verbose)
    with closing(bar) as progress:
        for loss in train(layers, optimizer, samples, plan, rng, progress.rows):
            watched = _finite(loss, plan.lr)
            layers.losses.append(loss)
            if held_out is not None:
                watched = _finite(mean_loss(layers.weights, layers.biases, held_out), plan.lr)
                layers.validation_losses.append(watched)
            epochs = len(layers.losses)
            speed = epochs * count / (time.perf_counter() - start)
            progress.part(epochs, f"loss {watched:.4f}", speed)
            stalled = stalled + 1 if watched > best - options.tol else 0
            if watched < best:
                best = watched
                if held_out is not None:
                    best_layers = [a.copy() for a in (*layers.weights, *layers.biases)]
            if stalled >= options.n_iter_no_change:
                break
        else:
            if not falls:
                warnings.warn(
                    f"max_iter: the loss still improved after {plan.max_iter} epochs; use more, or "
                    "learning_rate='cosine', which ends by itself",
                    ConvergenceWarning,
                    stacklevel=3,
                )
    if best_layers is not None:
        for array, value in zip((*layers.weights, *layers.biases), best_layers, strict=True):
            array[...] = value
    layers.state = _state(optimizer)


def fit_epoch(options: Any, layers: Layers, samples: Samples, rng: np.random.Generator) -> None:
    """Go over the samples once at the full rate, from the optimizer's last state."""
    optimizer, plan = _prepared(options, layers, samples, 1, falls=False)
    optimizer.load_state_dict(layers.state)
    for loss in train(layers, optimizer, samples, plan, rng, lambda rows: None):
        layers.losses.append(_finite(loss, plan.lr))
    layers.state = _state(optimizer)


def _prepared(
    options: Any, layers: Layers, samples: Samples, epochs: int, falls: bool
) -> tuple[Any, Plan]:
    """Return the optimizer and the plan; the rate is found once, and then the layers'."""
    count = len(samples.rows)
    size = BATCH_SIZE if options.batch_size == "auto" else options.batch_size
    size = min(size, count)
    if options.learning_rate_init != "auto":
        layers.lr = float(options.learning_rate_init)
    elif layers.lr is None:
        layers.lr = (
            sgd_rate(layers.weights, layers.biases, samples, size, options.momentum)
            if options.solver == "sgd"
            else ADAMW_RATE
        )
    params = [*layers.weights, *(layers.biases if options.fit_intercept else [])]
    # The penalty is on the weights alone, as scikit-learn has it.
    common = {"lr": layers.lr, "weight_decay": options.alpha, "min_decay_ndim": 2}
    optimizer: Any
    if options.solver == "sgd":
        nesterov = bool(options.nesterovs_momentum and options.momentum)
        optimizer = ss.SGD(params, momentum=options.momentum, nesterov=nesterov, **common)
    else:
        betas = (options.beta_1, options.beta_2)
        optimizer = ss.AdamW(params, betas=betas, eps=options.epsilon, **common)
    plan = Plan(
        layers.lr,
        falls,
        size,
        epochs,
        options.shuffle,
        options.label_smoothing,
        options.alpha,
    )
    return optimizer, plan


def _split(samples: Samples, fraction: float, rng: np.random.Generator) -> tuple[Samples, Samples]:
    """Hold out a share of each class."""
    rows, held_out = train_test_split(
        samples.rows,
        test_size=fraction,
        stratify=samples.labels[samples.rows],
        random_state=int(rng.integers(2**31)),
    )
    return replace(samples, rows=rows), replace(samples, rows=held_out)


def _finite(loss: float, lr: float) -> float:
    if not math.isfinite(loss):
        raise ValueError(
            f"learning_rate_init: the training diverged (the loss is {loss}): expected a smaller "
            f"one than {lr:g}, or scaled features (StandardScaler)"
        )
    return loss


def _state(optimizer: Any) -> dict[str, Any]:
    """Return the optimizer's state without its options, which the estimator may change."""
    state: dict[str, Any] = optimizer.state_dict()
    return {key: value for key, value in state.items() if not key.startswith("param_groups")}
