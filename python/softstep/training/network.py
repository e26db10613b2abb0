"""A multi-layer perceptron whose arrays are all allocated before the first step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

import softstep._core as _core
from softstep.training.activations import ACTIVATIONS

Floats = NDArray[np.float32]
# As `product` below.
Product = Callable[..., None]


def initial_parameters(
    sizes: Sequence[int], rng: np.random.Generator, dtype: Any = np.float32
) -> tuple[list[Any], list[Any]]:
    """Return weights (inputs, outputs) and zero biases of layers ``sizes``.

    Hidden layers are normal of variance 1 / inputs; the last one is 0, so that a training begins
    with equal probabilities, at a loss that is known.
    """
    shapes = list(pairwise(sizes))
    weights = [
        (rng.standard_normal(shape) / np.sqrt(shape[0])).astype(dtype) for shape in shapes[:-1]
    ]
    weights.append(np.zeros(shapes[-1], dtype))
    return weights, [np.zeros(outputs, dtype) for outputs in sizes[1:]]


def product(
    out: Any, left: Any, right: Any, bias: Any = None, relu: bool = False, gate: Any = None
) -> None:
    """Write left @ right + bias by softstep's threads: those of BLAS would wait for each other.

    Then 0 where that is below 0 (``relu``), and where ``gate`` is not above 0. ``left`` may be one
    of SciPy's sparse matrices, which SciPy multiplies.
    """
    if isinstance(left, np.ndarray):
        _core.product(out, left, right, bias=bias, relu=relu, gate=gate)
        return
    np.copyto(out, left @ right)
    if bias is not None:
        out += bias
    if relu:
        np.maximum(out, 0, out=out)
    if gate is not None:
        np.copyto(out, 0, where=~(gate > 0))


class MLP:
    """Dense layers with an activation after each but the last, for batches of up to ``rows`` rows.

    ``weights`` and ``biases`` are used, not copied: an optimiser updates them in place, and a
    second ``MLP`` on the same arrays sees it. ``gradients=False`` leaves out the backward buffers.
    ``product`` is what the layers are computed by.
    """

    def __init__(
        self,
        weights: Sequence[Floats],
        biases: Sequence[Floats],
        rows: int,
        *,
        gradients: bool = False,
        product: Product = product,
        activation: str = "relu",
    ) -> None:
        self.weights = weights
        self.biases = biases
        self.rows = rows
        dtype = weights[0].dtype
        self._product = product
        self._activation = ACTIVATIONS[activation]
        self._outputs = [np.empty((rows, bias.size), dtype) for bias in biases]
        if gradients:
            self.weight_gradients = [np.empty_like(weight) for weight in weights]
            self.bias_gradients = [np.empty_like(bias) for bias in biases]
            self._ones = np.ones((1, rows), dtype)
            self._hidden_gradients = [np.empty_like(output) for output in self._outputs[:-1]]
        self._inputs: Any = None

    def forward(self, x: Any) -> Any:
        """Return the outputs of ``x`` (n, inputs): a view that the next call overwrites."""
        self._inputs = x
        last, activation = len(self.weights) - 1, self._activation
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            output = self._outputs[layer][: x.shape[0]]
            self._product(output, x, weight, bias, relu=activation is None and layer < last)
            if activation is not None and layer < last:
                activation.apply(output)
            x = output
        return x

    def backward(self, dlogits: Floats) -> None:
        """Fill the gradients for the last ``forward``; ``dlogits`` may be its result's memory.

        What ``forward`` has kept of the hidden layers is used up.
        """
        n = len(dlogits)
        ones = self._ones[:, :n]
        doutput = dlogits
        for layer in reversed(range(len(self.weights))):
            x = self._outputs[layer - 1][:n] if layer else self._inputs
            self._product(self.weight_gradients[layer], x.T, doutput)
            self._product(self.bias_gradients[layer][None], ones, doutput)
            if layer:
                dx = self._hidden_gradients[layer - 1][:n]
                gate = x if self._activation is None else None
                self._product(dx, doutput, self.weights[layer].T, gate=gate)
                if self._activation is not None:
                    self._activation.derive(x)
                    dx *= x
                doutput = dx
