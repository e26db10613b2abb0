"""The language model: embeddings of the last words, a hidden layer if wanted, a softmax head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from softstep.cli.data.corpus import Words
from softstep.cli.data.labels import Indices
from softstep.cli.language_model.heads import Head
from softstep.training.network import Floats, product

Parameters = dict[str, Floats]


def initial_lm(
    frequencies: NDArray[np.float64],
    context: int,
    embedding: int,
    hidden: int,
    rng: np.random.Generator,
) -> Parameters:
    """Return new parameters, for a vocabulary with these ``frequencies``.

    The head's bias is the log of the frequencies: the training starts at the unigram model.
    ``hidden`` 0 means no hidden layer.
    """
    classes, inputs = len(frequencies), context * embedding
    parameters = {"embedding": _normal(rng, (classes + 1, embedding), 0.3)}
    if hidden:
        parameters["hidden_weight"] = _normal(rng, (inputs, hidden), np.sqrt(2 / inputs))
        parameters["hidden_bias"] = np.zeros(hidden, np.float32)
    parameters["head_weight"] = _normal(rng, (classes, hidden or inputs), 0.02)
    parameters["head_bias"] = np.log(frequencies).astype(np.float32)
    return parameters


def _normal(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> Floats:
    array = rng.standard_normal(shape, dtype=np.float32)
    array *= np.float32(scale)
    return array


class LanguageModel:
    """Loss and gradients for batches of up to ``rows`` rows; all arrays are allocated once.

    ``parameters`` are used, not copied: an optimiser updates them in place.
    """

    def __init__(self, parameters: Parameters, rows: int, context: int, head: Head) -> None:
        self.parameters = parameters
        self.gradients = {name: np.zeros_like(array) for name, array in parameters.items()}
        self.rows = rows
        self.head = head
        width = context * parameters["embedding"].shape[1]
        self._inputs = np.empty((rows, width), np.float32)
        self._dinputs = np.empty((rows, width), np.float32)
        self._has_hidden = "hidden_weight" in parameters
        if self._has_hidden:
            size = parameters["hidden_bias"].size
            self._hidden = np.empty((rows, size), np.float32)
            self._dhidden = np.empty((rows, size), np.float32)
            self._active = np.empty((rows, size), np.bool_)
        self._embedded = np.empty(0, np.int32)

    def loss(self, context: Words, target: Indices) -> float:
        """Return the sum of the losses of words ``target`` after ``context`` (n, words)."""
        p = self.parameters
        return self.head.loss(self._forward(context), p["head_weight"], p["head_bias"], target)

    def logits(self, context: Words) -> Floats:
        """Return the logits of each word of the vocabulary after ``context`` (n, words)."""
        p = self.parameters
        result = np.empty((len(context), p["head_bias"].size), np.float32)
        product(result, self._forward(context), p["head_weight"].T, p["head_bias"])
        return result

    def loss_with_gradients(self, context: Words, target: Indices) -> float:
        """Return the mean loss; fill ``gradients``."""
        p, g, n = self.parameters, self.gradients, len(target)
        hidden = self._forward(context)
        dhidden = (self._dhidden if self._has_hidden else self._dinputs)[:n]
        loss = self.head.loss_with_gradients(
            hidden,
            p["head_weight"],
            p["head_bias"],
            target,
            dhidden,
            g["head_weight"],
            g["head_bias"],
        )
        if self._has_hidden:
            active = np.greater(hidden, 0, out=self._active[:n])
            dhidden *= active
            product(g["hidden_weight"], self._inputs[:n].T, dhidden)
            np.sum(dhidden, axis=0, out=g["hidden_bias"])
            product(self._dinputs[:n], dhidden, p["hidden_weight"].T)
        self._embedding_gradient(context.reshape(-1), n)
        return loss

    def _forward(self, context: Words) -> Floats:
        p, n = self.parameters, len(context)
        inputs = self._inputs[:n]
        rows = inputs.reshape(context.size, -1)
        # mode="raise" would go through a temporary copy.
        np.take(p["embedding"], context.reshape(-1), axis=0, out=rows, mode="clip")
        if not self._has_hidden:
            return inputs
        hidden = self._hidden[:n]
        product(hidden, inputs, p["hidden_weight"], p["hidden_bias"], relu=True)
        return hidden

    def _embedding_gradient(self, words: Words, n: int) -> None:
        """Add up the rows of each word; the words of the last batch get their zeros back."""
        gradient = self.gradients["embedding"]
        gradient[self._embedded] = 0
        order = np.argsort(words, kind="stable")
        ordered = words[order]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        self._embedded = ordered[starts]
        rows = self._dinputs[:n].reshape(words.size, -1)[order]
        gradient[self._embedded] = np.add.reduceat(rows, starts, axis=0)
