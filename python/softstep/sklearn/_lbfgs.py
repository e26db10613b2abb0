"""Full-batch training by SciPy's L-BFGS."""

from __future__ import annotations

import time
import warnings
from contextlib import closing
from typing import Any

import numpy as np
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning

from softstep._typing import FloatArray
from softstep.sklearn._coordinates import scaling_of
from softstep.sklearn._settings import Settings
from softstep.training.batches import Samples
from softstep.training.network import MLP
from softstep.training.progress import open_progress
from softstep.training.scaling import Scaling
from softstep.training.step import Layers, penalty


class Objective:
    """The mean loss plus the penalty as a function of one vector, in scaled coordinates."""

    def __init__(
        self, settings: Settings, layers: Layers, samples: Samples, alphas: list[float]
    ) -> None:
        self.value = 0.0
        self.evaluations = 0
        self._loss = settings.loss
        self._samples = samples
        self._alphas = alphas
        self._scaling: Scaling = scaling_of(
            samples, alphas[0] / settings.loss.curvature, settings.fit_intercept
        )
        trained = [*layers.weights, *(layers.biases if settings.fit_intercept else [])]
        self._flat, self._parameters = _flat_like(trained)
        self._flat_gradient, gradients = _flat_like(trained)
        count = len(layers.weights)
        self._weights = self._parameters[:count]
        self._biases = self._parameters[count:] or layers.biases
        self._network = MLP(
            self._weights,
            self._biases,
            samples.features.shape[0],
            gradients=True,
            activation=settings.activation,
        )
        self._network.weight_gradients = gradients[:count]
        self._network.bias_gradients = gradients[count:] or self._network.bias_gradients

    def start(self, layers: Layers) -> Any:
        """Return the vector of the layers as they are."""
        for array, value in zip(
            self._weights + self._biases, layers.weights + layers.biases, strict=True
        ):
            array[...] = value
        if not layers.new:
            self._scaling.enter(self._weights[0], self._biases[0])
        return self._flat.astype(np.float64)

    def finish(self, vector: Any, layers: Layers) -> None:
        """Write the layers of a vector."""
        self._flat[...] = vector
        self._scaling.leave(self._weights[0], self._biases[0])
        for array, value in zip(
            layers.weights + layers.biases, self._weights + self._biases, strict=True
        ):
            array[...] = value

    def __call__(self, vector: Any) -> tuple[float, Any]:
        """Return the value and the gradient."""
        network, samples = self._network, self._samples
        self.evaluations += 1
        self._flat[...] = vector
        self._scaling.leave(self._weights[0], self._biases[0])
        outputs = network.forward(samples.features)
        loss, gradient = self._loss.with_gradient(
            outputs, samples.labels, samples.weights, samples.total
        )
        network.backward(gradient)
        for by_weight, weight, alpha in zip(
            network.weight_gradients, self._weights, self._alphas, strict=True
        ):
            by_weight += alpha * weight
        self._scaling.enter_gradient(network.weight_gradients[0], network.bias_gradients[0])
        self.value = loss + penalty(self._weights, self._alphas)
        return self.value, self._flat_gradient.astype(np.float64)


def fit_lbfgs(settings: Settings, layers: Layers, samples: Samples, alphas: list[float]) -> None:
    """Train the layers until the gradient is below ``tol``; warn if ``max_iter`` comes before."""
    if not settings.max_iter:
        warnings.warn(
            "max_iter: lbfgs failed to converge after 0 iteration(s)",
            ConvergenceWarning,
            stacklevel=3,
        )
        return
    objective = Objective(settings, layers, samples, alphas)
    rows, start = len(samples.rows), time.perf_counter()
    bar = open_progress(
        "iteration", settings.max_iter, settings.max_iter, quiet=not settings.verbose
    )
    with closing(bar) as progress:

        def after_iteration(vector: Any) -> None:
            layers.losses.append(objective.value)
            layers.epochs += 1
            progress.rows(1)
            speed = objective.evaluations * rows / (time.perf_counter() - start)
            progress.part(layers.epochs, f"loss {objective.value:.4f}", speed)

        result = minimize(
            objective,
            objective.start(layers),
            jac=True,
            method="L-BFGS-B",
            callback=after_iteration,
            options={
                "maxiter": settings.max_iter,
                "maxfun": settings.max_fun,
                "gtol": settings.tol,
                "ftol": 64 * np.finfo(np.float64).eps,
                "maxls": 50,
            },
        )
    objective.finish(result.x, layers)
    layers.seen += objective.evaluations * rows
    if not np.isfinite(result.fun):
        raise ValueError(f"X: the training diverged (the loss is {result.fun})")
    if not result.success:
        warnings.warn(
            f"lbfgs failed to converge after {result.nit} iteration(s): {result.message}: expected "
            "a larger max_iter or a stronger penalty",
            ConvergenceWarning,
            stacklevel=3,
        )


def _flat_like(arrays: list[FloatArray]) -> tuple[FloatArray, list[FloatArray]]:
    """Return one vector, and views of it of the arrays' shapes."""
    flat = np.zeros(sum(array.size for array in arrays), arrays[0].dtype)
    ends = np.cumsum([array.size for array in arrays])
    views = [
        flat[end - array.size : end].reshape(array.shape)
        for array, end in zip(arrays, ends, strict=True)
    ]
    return flat, views
