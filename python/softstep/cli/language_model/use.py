"""What a trained language model is for: the perplexity of a text, and a text of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

import softstep as ss
from softstep.cli.data.corpus import WORD, part_of, words_of
from softstep.cli.errors import InputError
from softstep.cli.language_model.heads import FusedHead
from softstep.cli.language_model.model import LanguageModel
from softstep.cli.language_model.training import mean_loss, perplexity
from softstep.cli.language_model.weights import SavedModel

# Words of a product.
ROWS = 512


def text_perplexity(saved: SavedModel, text: Path) -> str:
    """Return the line that tells how well the model predicts ``text``, a file or a folder."""
    part = part_of(words_of(text), saved.vocabulary, saved.context)
    if not len(part.positions):
        raise InputError(f"{text}: expected a text with words in it")
    model = LanguageModel(saved.parameters, ROWS, saved.context, FusedHead())
    loss = mean_loss(model, part, part.positions)
    words = f"{len(part.positions)} words, {part.unknown_share():.1%} outside the vocabulary"
    return f"perplexity: {perplexity(loss):.2f} ({words})"


def sampled(
    saved: SavedModel, prompt: str, count: int, temperature: float, rng: np.random.Generator
) -> Iterator[str]:
    """Yield ``count`` words after those of ``prompt``, each drawn from the model's softmax.

    A word outside the vocabulary is none to write: it is never drawn.
    """
    model = LanguageModel(saved.parameters, 1, saved.context, FusedHead())
    words = part_of([WORD.findall(prompt)], saved.vocabulary, saved.context).words
    for _ in range(count):
        logits = model.logits(words[None, -saved.context :])[0]
        logits[0] = -np.inf
        chances = ss.softmax(logits.astype(np.float64), temperature=temperature)
        word = int(rng.choice(len(chances), p=chances / chances.sum()))
        yield saved.vocabulary[word]
        words = np.append(words, np.int32(word))
