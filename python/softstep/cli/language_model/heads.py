"""The last layer of the language model and its loss: without the logits, and with them."""

from __future__ import annotations

from typing import Protocol

import numpy as np

import softstep as ss
from softstep.cli.data.labels import Indices
from softstep.training.network import Floats


class Head(Protocol):
    """logits = hidden @ weight.T + bias, softmax and cross-entropy."""

    def loss(self, hidden: Floats, weight: Floats, bias: Floats, target: Indices) -> float:
        """Return the sum of the losses."""

    def loss_with_gradients(
        self,
        hidden: Floats,
        weight: Floats,
        bias: Floats,
        target: Indices,
        dhidden: Floats,
        dweight: Floats,
        dbias: Floats,
    ) -> float:
        """Return the mean of the losses; write its gradients."""


class FusedHead:
    """By `softstep.linear_cross_entropy`: a chunk of the logits at a time."""

    def loss(self, hidden: Floats, weight: Floats, bias: Floats, target: Indices) -> float:
        """See `Head`."""
        return float(ss.linear_cross_entropy(hidden, weight, target, bias=bias, reduction="sum"))

    def loss_with_gradients(
        self,
        hidden: Floats,
        weight: Floats,
        bias: Floats,
        target: Indices,
        dhidden: Floats,
        dweight: Floats,
        dbias: Floats,
    ) -> float:
        """See `Head`."""
        loss, _ = ss.linear_cross_entropy_with_grad(
            hidden, weight, target, bias=bias, dhidden=dhidden, dweight=dweight, dbias=dbias
        )
        return float(loss)


class DenseHead:
    """By NumPy's products and `softstep.cross_entropy_with_grad`: all logits of the batch."""

    def __init__(self, rows: int, classes: int) -> None:
        self._logits = np.empty((rows, classes), np.float32)

    def loss(self, hidden: Floats, weight: Floats, bias: Floats, target: Indices) -> float:
        """See `Head`."""
        logits = self._forward(hidden, weight, bias)
        return float(ss.cross_entropy(logits, target, reduction="sum"))

    def loss_with_gradients(
        self,
        hidden: Floats,
        weight: Floats,
        bias: Floats,
        target: Indices,
        dhidden: Floats,
        dweight: Floats,
        dbias: Floats,
    ) -> float:
        """See `Head`."""
        logits = self._forward(hidden, weight, bias)
        loss, dlogits = ss.cross_entropy_with_grad(logits, target, out=logits)
        np.matmul(dlogits, weight, out=dhidden)
        np.matmul(dlogits.T, hidden, out=dweight)
        np.sum(dlogits, axis=0, out=dbias)
        return float(loss)

    def _forward(self, hidden: Floats, weight: Floats, bias: Floats) -> Floats:
        logits = self._logits[: len(hidden)]
        np.matmul(hidden, weight.T, out=logits)
        logits += bias
        return logits
