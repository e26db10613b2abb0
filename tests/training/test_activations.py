"""Activations and losses of networks: their gradients against central differences in float64."""

from typing import Any

import numpy as np
import pytest

from softstep.training.activations import ACTIVATIONS
from softstep.training.losses import HALF_SQUARED_ERROR, HINGE, Loss, cross_entropy
from softstep.training.network import MLP, initial_parameters, product
from softstep.training.scaling import Scaling

SIZES = [5, 4, 6, 3]
DEFINITIONS = {
    "relu": lambda z: np.maximum(z, 0),
    "tanh": np.tanh,
    "logistic": lambda z: 1 / (1 + np.exp(-z)),
    "identity": lambda z: z,
}
LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy(0.1),
    "squared error": HALF_SQUARED_ERROR,
    "hinge": HINGE,
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_and_derivatives(name: str, dtype: Any) -> None:
    """Of relu, which the products do: a product with 1, and the gate of one."""
    z = np.concatenate([np.linspace(-30, 30, 241), [-800.0, 800.0]]).astype(dtype)
    with np.errstate(over="ignore"):
        expected = DEFINITIONS[name](z.astype(np.float64))
        around = [DEFINITIONS[name](z.astype(np.float64) + step) for step in (-1e-6, 1e-6)]
    slope = (around[1] - around[0]) / 2e-6
    activation, one = ACTIVATIONS[name], np.ones((1, 1), dtype)
    if activation is None:
        product(z[None], one, z[None].copy(), relu=True)
    else:
        activation.apply(z)
    bound = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(z, expected, rtol=bound, atol=bound)
    if activation is None:
        product(z[None], one, np.ones((1, z.size), dtype), gate=z[None].copy())
    else:
        activation.derive(z)
    kink = np.arange(z.size) == 120
    np.testing.assert_allclose(z[~kink], slope[~kink], atol=bound + 1e-9)


def problem(loss: str) -> tuple[Any, Any, Any, Any]:
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(9, SIZES[0])), 0.5 + rng.random(9)
    targets = (
        rng.normal(size=(9, SIZES[-1])) if loss == "squared error" else rng.integers(3, size=9)
    )
    parameters = [*map(list, initial_parameters(SIZES, rng, np.float64))]
    for array in parameters[0] + parameters[1]:
        array += 0.3 * rng.normal(size=array.shape)
    return parameters, x, targets, weights


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", LOSSES)
def test_gradients_of_a_network(name: str, activation: str) -> None:
    (weights, biases), x, targets, rows = problem(name)
    network = MLP(weights, biases, len(x), gradients=True, activation=activation)

    def value() -> float:
        return LOSSES[name].with_gradient(network.forward(x), targets, rows, 7.0)[0]

    _, by_outputs = LOSSES[name].with_gradient(network.forward(x), targets, rows, 7.0)
    network.backward(by_outputs)
    gradients = [g.copy() for g in network.weight_gradients + network.bias_gradients]
    for array, gradient in zip(weights + biases, gradients, strict=True):
        for index in np.ndindex(array.shape):
            kept = array[index]
            around = []
            for step in (-1e-6, 1e-6):
                array[index] = kept + step
                around.append(value())
            array[index] = kept
            slope = (around[1] - around[0]) / 2e-6
            assert gradient[index] == pytest.approx(slope, abs=1e-7), (name, activation)


@pytest.mark.parametrize("name", LOSSES)
def test_weights_of_rows_are_repetitions(name: str) -> None:
    _, _, targets, _ = problem(name)
    outputs, weights = np.random.default_rng(1).normal(size=(9, SIZES[-1])), np.arange(9) % 3
    weighted = LOSSES[name].with_gradient(outputs.copy(), targets, weights.astype(float), 9.0)
    repeated = LOSSES[name].with_gradient(
        outputs.repeat(weights, axis=0), targets.repeat(weights, axis=0), None, 9.0
    )
    assert weighted[0] == pytest.approx(repeated[0], rel=1e-13)
    expected = repeated[1][np.cumsum(weights)[weights > 0] - 1] * weights[weights > 0][:, None]
    np.testing.assert_allclose(weighted[1][weights > 0], expected, rtol=1e-13, atol=1e-16)


def test_scaled_coordinates_are_the_same_model() -> None:
    rng = np.random.default_rng(0)
    x, weight, bias = rng.normal(size=(7, 4)), rng.normal(size=(4, 3)), rng.normal(size=3)
    scaling = Scaling(rng.normal(size=4), np.exp(rng.normal(size=4)))
    z, v, c = x.copy(), weight.copy(), bias.copy()
    scaling.apply(z)
    scaling.enter(v, c)
    np.testing.assert_allclose(z @ v + c, x @ weight + bias, rtol=1e-13)
    by_outputs = rng.normal(size=(7, 3))
    gradient, by_bias = x.T @ by_outputs, by_outputs.sum(0)
    scaling.enter_gradient(gradient, by_bias)
    np.testing.assert_allclose(gradient, z.T @ by_outputs, rtol=1e-12, atol=1e-13)
    decay = np.zeros_like(v)
    scaling.add_decay(decay, v, 0.3)
    np.testing.assert_allclose(decay, 0.3 * weight * scaling.factor[:, None], rtol=1e-13)
    (w,), (b,) = scaling.raw([v], [c])
    np.testing.assert_allclose(w, weight, rtol=1e-13)
    np.testing.assert_allclose(b, bias, rtol=1e-12)
