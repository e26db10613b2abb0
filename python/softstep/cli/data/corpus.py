"""Text as numbers: words of the standard library's sources or of files, in two parts."""

from __future__ import annotations

import os
import re
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
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

    def unknown_share(self) -> float:
        """Return the share of the words that are outside the vocabulary."""
        return float(np.mean(self.words[self.positions] == 0))


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


def read_corpus(
    text: Path | None,
    most_words: int,
    context: int,
    test_fraction: float,
    rng: np.random.Generator,
) -> Corpus:
    """Read the standard library, or ``text``, a file or a folder of them.

    Files with ``test_fraction`` of the words are held out; of a single file its end. The vocabulary
    is `UNKNOWN` and the most frequent words of the training part, ``most_words`` in all.
    """
    source = "the standard library" if text is None else str(text)
    known: dict[str, int] = {}
    texts = [
        np.fromiter((known.setdefault(word, len(known)) for word in words), np.int32)
        for words in words_of(text)
    ]
    texts = [each for each in texts if each.size]
    if sum(each.size for each in texts) < 2:
        raise InputError(f"{source}: expected two words or more, got {sum(map(len, texts))}")
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


def words_of(text: Path | None) -> Iterator[list[str]]:
    """Yield the words of each file of ``text``, a file or a folder, or of the standard library."""
    if text is None:
        return _texts(Path(sysconfig.get_path("stdlib")), (".py",), SKIPPED)
    if text.is_dir():
        return _texts(text, SUFFIXES, set())
    try:
        # As a folder's files: in another encoding it still has its ASCII words.
        return iter([WORD.findall(text.read_text("utf-8", errors="ignore"))])
    except OSError as error:
        raise InputError(
            f"{text}: expected a text file or a folder of them ({' '.join(SUFFIXES)}): "
            f"{error.strerror or error}"
        ) from error


def part_of(texts: Iterable[list[str]], vocabulary: Sequence[str], context: int) -> Part:
    """Return texts as numbers of a ``vocabulary`` that is there already."""
    number = {word: k for k, word in enumerate(vocabulary)}
    coded = [np.array([number.get(word, 0) for word in words], np.int32) for words in texts]
    return _part(coded, np.full(context, len(vocabulary), np.int32))


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
    """Return the texts to test on, at random until they hold ``fraction``, and the others.

    A single text is cut.
    """
    if len(texts) == 1:
        (text,) = texts
        cut = min(max(round((1 - fraction) * text.size), 1), text.size - 1)
        return [text[cut:]], [text[:cut]]
    order = rng.permutation(len(texts))
    sizes = np.cumsum([texts[k].size for k in order])
    count = 1 + int(np.searchsorted(sizes, fraction * sizes[-1]))
    held_out = set(order[: min(count, len(texts) - 1)].tolist())
    test = [text for k, text in enumerate(texts) if k in held_out]
    return test, [text for k, text in enumerate(texts) if k not in held_out]


def _part(texts: list[Words], start: Words) -> Part:
    words = np.concatenate([piece for text in texts for piece in (start, text)])
    return Part(words, np.flatnonzero(words != start[0]), len(start))
