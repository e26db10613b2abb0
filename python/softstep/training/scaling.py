"""Coordinates in which one rate fits every feature of a table."""

from __future__ import annotations

from typing import Any, NamedTuple

from softstep._typing import FloatArray


class Scaling(NamedTuple):
    """z = (x - mean) * factor, (d,) each.

    Weights V and biases c of z are W = factor V and b = c - mean W of x: another way to the same
    model, and to the same optimum as long as the penalty stays that of W.
    """

    mean: FloatArray
    factor: FloatArray

    def apply(self, x: FloatArray) -> None:
        """Overwrite x by z."""
        x -= self.mean
        x *= self.factor

    def enter(self, weight: FloatArray, bias: FloatArray) -> None:
        """Overwrite W and b by V and c."""
        bias += self.mean @ weight
        weight /= self.factor[:, None]

    def leave(self, weight: FloatArray, bias: FloatArray) -> None:
        """Overwrite V and c by W and b."""
        weight *= self.factor[:, None]
        bias -= self.mean @ weight

    def enter_gradient(self, by_weight: FloatArray, by_bias: FloatArray) -> None:
        """Overwrite the gradient by W, with that by b, by the gradient by V."""
        by_weight -= self.mean[:, None] * by_bias
        by_weight *= self.factor[:, None]

    def add_decay(self, gradient: FloatArray, weight: FloatArray, alpha: float) -> None:
        """Add to the gradient by V that of ``alpha / 2 ||W||**2``."""
        gradient += (alpha * self.factor * self.factor)[:, None] * weight

    def raw(self, weights: list[Any], biases: list[Any]) -> tuple[list[Any], list[Any]]:
        """Return the layers as x needs them: copies of the first, the others themselves."""
        weight, bias = weights[0].copy(), biases[0].copy()
        self.leave(weight, bias)
        return [weight, *weights[1:]], [bias, *biases[1:]]
