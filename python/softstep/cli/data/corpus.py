"""Text as numbers: words of the standard library's sources or of a folder, in two parts."""

from __future__ import annotations

import os
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from softstep.cli.errors import InputError

Words = NDArray[np.int32]
Positions = NDArray[np.int64]

# A word, a number or one sign; white space separates and is dropped.
WORD = re.compile(r"\w+|[^\w\s]")
SUFFIXES = (".md", ".py", ".rst", ".txt")
# What the standard library of one installation has and another lacks, and tables of code points.
SKIPPED = {"dist-packages", "encodings", "idle_test", "site-packages", "test", "tests"}
UNKNOWN = "<unk>"


@dataclass(frozen=True)
class Part:
    """Words, file after file, with ``context`` starts before each; ``positions`` of real words."""

    words: Words
    positions: Positions
    context: int

    def batch(self, positions: Positions) -> tuple[Words, Positions]:
        """Return the ``context`` words before each position, the nearest last, and its own."""
        before = np.arange(-self.context, 0)
        return self.words[positions[:, None] + before], self.words[positions].astype(np.int64)


@dataclass(frozen=True)
class Corpus:
    """A text to train on, one to test on, and the vocabulary of both.

    Word 0 is `UNKNOWN`; the number ``len(vocabulary)``, which is never to be predicted, stands
    for what is before the start of a file.
    """

    source: str
    files: int
    vocabulary: list[str]
    train: Part
    test: Part

    def frequencies(self) -> NDArray[np.float64]:
        """Return each word's share of the training part, counted once more than it occurs."""
        words = self.train.words[self.train.positions]
        counts = np.bincount(words, minlength=len(self.vocabulary)) + 1
        return np.asarray(counts / counts.sum())

    def unknown_share(self) -> float:
        """Return the share of the held-out words that are outside the vocabulary."""
        return float(np.mean(self.test.words[self.test.positions] == 0))


def read_corpus(
    folder: Path | None,
    most_words: int,
    context: int,
    test_fraction: float,
    rng: np.random.Generator,
) -> Corpus:
    """Read the standard library, or ``folder``; hold out files with ``test_fraction`` of the words.

    The vocabulary is `UNKNOWN` and the most frequent words of the training part, ``most_words`` in
    all.
    """
    root = Path(sysconfig.get_path("stdlib")) if folder is None else folder
    source = "the standard library" if folder is None else str(folder)
    if not root.is_dir():
        got = "a file" if root.exists() else "nothing of this name"
        raise InputError(f"{source}: expected a folder of text files, got {got}")
    known: dict[str, int] = {}
    chosen_by = ((".py",), SKIPPED) if folder is None else (SUFFIXES, set[str]())
    texts = [
        np.fromiter((known.setdefault(word, len(known)) for word in words), np.int32)
        for words in _texts(root, *chosen_by)
    ]
    texts = [text for text in texts if text.size]
    if len(texts) < 2:
        raise InputError(
            f"{source}: expected two text files or more ({' '.join(SUFFIXES)}), one to train and "
            f"one to test, got {len(texts)} with words in them"
        )
    test, train = _split(texts, test_fraction, rng)
    counts = np.bincount(np.concatenate(train), minlength=len(known))
    # Equal counts keep the order in which the words came.
    chosen = np.argsort(-counts, kind="stable")[: min(most_words - 1, np.count_nonzero(counts))]
    names = list(known)
    vocabulary = [UNKNOWN, *(names[word] for word in chosen)]
    if len(vocabulary) < 3:
        raise InputError(f"{source}: expected two different words or more to train on, got one")
    number = np.zeros(len(known), np.int32)
    number[chosen] = np.arange(1, len(vocabulary))
    start = np.full(context, len(vocabulary), np.int32)
    parts = [_part([number[text] for text in texts], start) for texts in (train, test)]
    return Corpus(source, len(texts), vocabulary, *parts)


def _texts(root: Path, suffixes: tuple[str, ...], skipped: set[str]) -> Iterator[list[str]]:
    """Yield the words of each file below ``root``, in an order that the names decide."""
    try:
        for folder, below, names in os.walk(root, onerror=_raise):
            below[:] = sorted(set(below) - skipped)
            for path in (Path(folder, name) for name in sorted(names)):
                if path.suffix in suffixes and path.is_file():
                    # A file in another encoding still has its ASCII words.
                    yield WORD.findall(path.read_text("utf-8", errors="ignore"))
    except OSError as error:
        raise InputError(
            f"{error.filename or root}: cannot be read: {error.strerror or error}"
        ) from error


def _raise(error: OSError) -> None:
    raise error


def _split(
    texts: list[Words], fraction: float, rng: np.random.Generator
) -> tuple[list[Words], list[Words]]:
    """Return the texts to test on, at random until they hold ``fraction``, and the others."""
    order = rng.permutation(len(texts))
    sizes = np.cumsum([texts[k].size for k in order])
    count = 1 + int(np.searchsorted(sizes, fraction * sizes[-1]))
    held_out = set(order[: min(count, len(texts) - 1)].tolist())
    test = [text for k, text in enumerate(texts) if k in held_out]
    return test, [text for k, text in enumerate(texts) if k not in held_out]


def _part(texts: list[Words], start: Words) -> Part:
    words = np.concatenate([piece for text in texts for piece in (start, text)])
    return Part(words, np.flatnonzero(words != start[0]), len(start))
