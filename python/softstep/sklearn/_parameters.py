"""Where the parameters of a model are kept: `coef_` of one layer, or `coefs_` of many."""

from __future__ import annotations

from typing import Any

import numpy as np

from softstep._typing import FloatArray
from softstep.sklearn._options import hidden_sizes
from softstep.training.network import initial_parameters
from softstep.training.step import Layers


class OneLayer:
    """`coef_`, shape (C, d), and `intercept_`; of the difference of two classes' logits (1, d)."""

    coef_: FloatArray
    intercept_: FloatArray

    @property
    def _halved(self) -> bool:
        """Whether one vector stands for two outputs."""
        return self.n_outputs_ == 2 and hasattr(self, "classes_")  # type: ignore[attr-defined]

    def _initial(self, X: Any, outputs: int, rng: np.random.Generator) -> Layers:
        return Layers([np.zeros((X.shape[1], outputs), X.dtype)], [np.zeros(outputs, X.dtype)])

    def _parameters(self) -> tuple[list[FloatArray], list[FloatArray]]:
        # A regressor's are of one target.
        weight, bias = np.atleast_2d(self.coef_).T, self.intercept_
        if self._halved:
            # Both classes started at 0 and their gradients are opposite: so are their weights.
            weight, bias = (np.concatenate([-a / 2, a / 2], axis=-1) for a in (weight, bias))
        return [weight], [bias]

    def _set_parameters(self, weights: list[FloatArray], biases: list[FloatArray]) -> None:
        weight, bias = weights[0], biases[0]
        if self._halved:
            weight, bias = weight[:, 1:] - weight[:, :1], bias[1:] - bias[:1]
        self.coef_, self.intercept_ = np.ascontiguousarray(weight.T), bias


class ManyLayers:
    """`coefs_` and `intercepts_`, a list each."""

    coefs_: list[FloatArray]
    intercepts_: list[FloatArray]
    hidden_layer_sizes: Any

    def _initial(self, X: Any, outputs: int, rng: np.random.Generator) -> Layers:
        sizes = [X.shape[1], *hidden_sizes(self.hidden_layer_sizes), outputs]
        return Layers(*initial_parameters(sizes, rng, X.dtype))

    def _parameters(self) -> tuple[list[FloatArray], list[FloatArray]]:
        return self.coefs_, self.intercepts_

    def _set_parameters(self, weights: list[FloatArray], biases: list[FloatArray]) -> None:
        self.coefs_, self.intercepts_ = weights, biases
        self.n_layers_ = len(weights) + 1
        classifies = hasattr(self, "classes_")
        self.out_activation_ = "softmax" if classifies else "identity"
