"""A multi-layer perceptron in NumPy whose arrays are all allocated before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def initial_parameters(
    sizes: Sequence[int], rng: np.random.Generator
) -> tuple[list[Floats], list[Floats]]:
    """Return weights (inputs, outputs), He-normal for ReLU, and zero biases of layers ``sizes``."""
    weights = []
    for inputs, outputs in pairwise(sizes):
        weight = rng.standard_normal((inputs, outputs), dtype=np.float32)
        weight *= np.float32(np.sqrt(2 / inputs))
        weights.append(weight)
    return weights, [np.zeros(outputs, np.float32) for outputs in sizes[1:]]


class MLP:
    """Dense layers with a ReLU after each but the last, for batches of up to ``rows`` rows.

    ``weights`` and ``biases`` are used, not copied: an optimiser updates them in place, and a
    second ``MLP`` on the same arrays sees it. ``gradients=False`` leaves out the backward buffers.
    """

    def __init__(
        self,
        weights: Sequence[Floats],
        biases: Sequence[Floats],
        rows: int,
        *,
        gradients: bool = False,
    ) -> None:
        self.weights = weights
        self.biases = biases
        self.rows = rows
        dtype = weights[0].dtype
        self._outputs = [np.empty((rows, bias.size), dtype) for bias in biases]
        if gradients:
            self.weight_gradients = [np.empty_like(weight) for weight in weights]
            self.bias_gradients = [np.empty_like(bias) for bias in biases]
            self._hidden_gradients = [np.empty_like(output) for output in self._outputs[:-1]]
            self._active = [np.empty(output.shape, np.bool_) for output in self._outputs[:-1]]
        self._inputs = np.empty((0, weights[0].shape[0]), dtype)

    def forward(self, x: Floats) -> Floats:
        """Return the logits of ``x`` (n, inputs): a view that the next call overwrites."""
        self._inputs = x
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            output = self._outputs[layer][: len(x)]
            np.matmul(x, weight, out=output)
            output += bias
            if layer < last:
                np.maximum(output, 0, out=output)
            x = output
        return x

    def backward(self, dlogits: Floats) -> None:
        """Fill the gradients for the last ``forward``; ``dlogits`` may be its result's memory."""
        n = len(dlogits)
        doutput = dlogits
        for layer in reversed(range(len(self.weights))):
            x = self._outputs[layer - 1][:n] if layer else self._inputs
            np.matmul(x.T, doutput, out=self.weight_gradients[layer])
            np.sum(doutput, axis=0, out=self.bias_gradients[layer])
            if layer:
                dx = self._hidden_gradients[layer - 1][:n]
                active = self._active[layer - 1][:n]
                np.matmul(doutput, self.weights[layer].T, out=dx)
                np.greater(x, 0, out=active)
                dx *= active
                doutput = dx
