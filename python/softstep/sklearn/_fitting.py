"""From settings to trained layers by mini-batches: optimizer, rate, stopping, progress."""

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
from softstep.sklearn._coordinates import scaling_of
from softstep.sklearn._rates import Rate, rate_of
from softstep.sklearn._score import labels_of, score_of
from softstep.sklearn._settings import Settings
from softstep.training.batches import Samples
from softstep.training.evaluation import logits_of, loss_of_outputs
from softstep.training.progress import open_progress
from softstep.training.rate import sgd_rate
from softstep.training.step import Layers, Plan, epoch_steps, train

# Steps of an epoch, by which a small table has small batches, within these bounds.
STEPS, LEAST_BATCH, MOST_BATCH = 16, 32, 128
# Chosen so that more epochs give no worse model, over small tables of scikit-learn and KEEL.
NOISE_MARGIN = 4.0
ADAM_RATE = 1e-3


def fit_epochs(
    settings: Settings,
    layers: Layers,
    samples: Samples,
    alphas: list[float],
    rng: np.random.Generator,
) -> None:
    """Train the layers for up to ``max_iter`` epochs; raise ValueError if that diverges."""
    held_out = None
    if settings.early_stopping:
        samples, held_out = _split(settings, samples, rng)
    if settings.finds_coordinates and not samples.sparse:
        ridge = alphas[0] / settings.loss.curvature
        layers.scaling = scaling_of(
            samples, ridge, settings.fit_intercept, batch_size_of(settings, samples)
        )
        if not layers.new:
            layers.scaling.enter(layers.weights[0], layers.biases[0])
    optimizer, plan, rate = _prepared(settings, layers, samples, alphas, settings.max_iter)
    best, best_layers, stalled = math.inf, None, 0
    epochs, count, start = 0, len(samples.rows), time.perf_counter()
    total = settings.max_iter * count
    bar = open_progress("epoch", settings.max_iter, total, quiet=not settings.verbose)
    with closing(bar) as progress:
        for loss in train(layers, optimizer, samples, plan, rng, progress.rows):
            epochs += 1
            watched = _finite(loss, layers)
            layers.losses.append(loss)
            if held_out is not None:
                watched = _watch(settings, layers, held_out)
            speed = epochs * count / (time.perf_counter() - start)
            progress.part(epochs, f"loss {watched:.4f}", speed)
            stalled = stalled + 1 if watched > best - settings.tol else 0
            if watched < best:
                best = watched
                if held_out is not None:
                    best_layers = [a.copy() for a in (*layers.weights, *layers.biases)]
            has_stalled = stalled >= settings.n_iter_no_change
            if rate.after(epochs, has_stalled):
                break
            stalled = 0 if has_stalled else stalled
    if not rate.converged:
        warnings.warn(
            f"max_iter: the loss still fell after {epochs} epochs; more give a better model",
            ConvergenceWarning,
            stacklevel=3,
        )
    if best_layers is not None:
        for array, value in zip((*layers.weights, *layers.biases), best_layers, strict=True):
            array[...] = value
    layers.state = _state(optimizer)


def fit_epoch(
    settings: Settings,
    layers: Layers,
    samples: Samples,
    alphas: list[float],
    rng: np.random.Generator,
) -> None:
    """Go over the samples once, from the optimizer's last state."""
    optimizer, plan, _ = _prepared(settings, layers, samples, alphas, epochs=2)
    if layers.state:
        optimizer.load_state_dict(layers.state)
    for loss in train(layers, optimizer, samples, replace(plan, epochs=1), rng, lambda rows: None):
        layers.losses.append(_finite(loss, layers))
    layers.state = _state(optimizer)


def batch_size_of(settings: Settings, samples: Samples) -> int:
    """Return the rows of a step; of a sparse matrix so many that they meet each column."""
    size, count = settings.batch_size, len(samples.rows)
    if size == "auto":
        size = min(max(LEAST_BATCH, math.ceil(count / STEPS)), MOST_BATCH)
        if samples.sparse:
            rows, columns = samples.features.shape
            # A step goes over all weights: fewer of them cost less and go as far.
            size = max(size, columns * rows // max(samples.features.nnz, 1))
        # Equal ones: a few rows left over would make a step of much noise.
        size = math.ceil(count / math.ceil(count / size))
    return min(int(size), count)


def _prepared(
    settings: Settings, layers: Layers, samples: Samples, alphas: list[float], epochs: int
) -> tuple[Any, Plan, Rate]:
    """Return the optimizer, the plan and its rate, which is found once, and then the layers'."""
    size = batch_size_of(settings, samples)
    if settings.learning_rate_init != "auto":
        layers.lr = float(settings.learning_rate_init)
    elif layers.lr is None:
        layers.lr = (
            _stable_rate(settings, layers, samples, size, alphas)
            if settings.solver == "sgd"
            else ADAM_RATE
        )
    # The penalty is on the weights alone, as scikit-learn has it.
    coupled = settings.solver != "adamw"
    groups: list[dict[str, Any]] = [
        {"params": [weight], "weight_decay": alpha}
        for weight, alpha in zip(layers.weights, alphas, strict=True)
    ]
    if coupled and layers.scaling is not None:
        groups[0]["weight_decay"] = 0.0
    if settings.fit_intercept:
        groups.append({"params": layers.biases, "weight_decay": 0.0})
    optimizer: Any
    if settings.solver == "sgd":
        nesterov = bool(settings.nesterovs_momentum and settings.momentum)
        optimizer = ss.SGD(groups, layers.lr, momentum=settings.momentum, nesterov=nesterov)
    else:
        optimizer = ss.AdamW(
            groups,
            layers.lr,
            betas=(settings.beta_1, settings.beta_2),
            eps=settings.epsilon,
            decoupled=not coupled,
        )
    steps = epoch_steps(samples, size)
    rate = rate_of(
        settings.learning_rate, layers.lr, settings.power_t, epochs, steps, size, layers.seen
    )
    plan = Plan(
        settings.loss, rate, size, epochs, settings.shuffle, alphas, settings.activation, coupled
    )
    return optimizer, plan, rate


def _stable_rate(
    settings: Settings, layers: Layers, samples: Samples, size: int, alphas: list[float]
) -> float:
    decays = list(alphas)
    if layers.scaling is not None:
        decays[0] *= float(np.max(layers.scaling.factor)) ** 2
    return sgd_rate(
        layers.weights,
        layers.biases,
        samples,
        size,
        settings.momentum,
        by_outputs=settings.loss.curvature,
        noise_margin=NOISE_MARGIN,
        decays=decays,
        activation=settings.activation,
        scaling=layers.scaling,
    )


def _watch(settings: Settings, layers: Layers, held_out: Samples) -> float:
    """Return the loss of the rows to stop by; record it and their score."""
    outputs = logits_of(*layers.raw(), held_out.features[held_out.rows], settings.activation)
    layers.validation_scores.append(score_of(held_out, outputs, settings.classes is not None))
    loss = _finite(loss_of_outputs(outputs, held_out, settings.loss), layers)
    layers.validation_losses.append(loss)
    return loss


def _split(
    settings: Settings, samples: Samples, rng: np.random.Generator
) -> tuple[Samples, Samples]:
    """Hold out a share of the rows, of each class if there are classes."""
    labels = None
    if settings.classes is not None:
        labels = settings.classes[labels_of(samples.labels[samples.rows])]
    rows, held_out = train_test_split(
        samples.rows,
        test_size=settings.validation_fraction,
        stratify=labels,
        random_state=int(rng.integers(2**31)),
    )
    if len(held_out) < 2:
        raise ValueError(
            "validation_fraction: The validation set is too small: expected at least 2 rows of "
            f"{len(samples.rows)}, got {len(held_out)}"
        )
    return replace(samples, rows=rows), replace(samples, rows=held_out)


def _finite(loss: float, layers: Layers) -> float:
    if not math.isfinite(loss):
        raise ValueError(
            f"learning_rate_init: the training diverged (the loss is {loss}): expected a smaller "
            f"one than {layers.lr:g}, or scaled features (StandardScaler)"
        )
    return loss


def _state(optimizer: Any) -> dict[str, Any]:
    """Return the optimizer's state without its options, which the estimator may change."""
    state: dict[str, Any] = optimizer.state_dict()
    return {key: value for key, value in state.items() if not key.startswith("param_groups")}
