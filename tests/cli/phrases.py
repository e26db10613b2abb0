"""A text for `softstep lm` whose next word mostly follows from the last ones."""

from pathlib import Path

import numpy as np

from tests.cli.command_line import softstep

SMALL = ["--steps", "40", "--batch-size", "64", "--embedding", "8", "--hidden", "16"]
PHRASES = ["the cat sat .", "a dog ran far !", "we saw it", "they said no :"]


def write_phrases(folder: Path) -> None:
    """Write six files."""
    rng = np.random.default_rng(0)
    for number in range(6):
        words = " ".join(PHRASES[k] for k in rng.integers(len(PHRASES), size=300))
        (folder / f"{number}.txt").write_text(words)


def train(text: Path, *words: str, cwd: Path) -> tuple[str, str]:
    """Return stdout and stderr of a small training."""
    return softstep("lm", "--text", str(text), *SMALL, *words, cwd=cwd)
