"""How to train, whatever names an estimator has for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from softstep.training.losses import Loss


@dataclass(frozen=True)
class Settings:
    """Parameters of an estimator, by the names of `MLPClassifier`."""

    loss: Loss
    # Of a classifier.
    classes: Any
    alpha: float
    # Whether alpha is divided by the (weighted) rows of a step.
    alpha_by_rows: bool = False
    activation: str = "relu"
    fit_intercept: bool = True
    solver: str = "sgd"
    batch_size: int | str = "auto"
    learning_rate: str = "cosine"
    learning_rate_init: float | str = "auto"
    power_t: float = 0.5
    momentum: float = 0.9
    nesterovs_momentum: bool = True
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    max_iter: int = 200
    max_fun: int = 15_000
    shuffle: bool = True
    tol: float = 1e-4
    n_iter_no_change: float = 10
    early_stopping: bool = False
    validation_fraction: float = 0.1
    verbose: bool = False

    @property
    def finds_coordinates(self) -> bool:
        """Whether features and targets are scaled: a rate that is given is of them as they are."""
        return self.solver == "lbfgs" or self.learning_rate_init == "auto"
