"""The weights file of the language model: parameters, vocabulary and settings, as .npz."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from softstep.cli.errors import InputError
from softstep.cli.files.archive import finite_of, json_of, read_archive, texts_of
from softstep.cli.language_model.model import Parameters

FORMAT = "softstep-lm-1"
WHAT = "a weights file that `softstep lm` wrote"


@dataclass(frozen=True)
class SavedModel:
    """Parameters, the words that they are of, and from how many a word is predicted."""

    parameters: Parameters
    vocabulary: list[str]
    context: int


def save_lm(
    path: Path, parameters: Parameters, vocabulary: Sequence[str], settings: Mapping[str, Any]
) -> None:
    """Write the archive to exactly ``path``."""
    arrays: dict[str, Any] = {
        "format": np.array(FORMAT),
        "vocabulary": np.array(vocabulary),
        "settings": np.array(json.dumps(settings)),
        **parameters,
    }
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def is_lm_file(path: Path) -> bool:
    """Return whether ``path`` is a weights file of this format."""
    try:
        read_archive(path, FORMAT, WHAT, lambda name: False)
    except InputError:
        return False
    return True


def load_lm(path: Path) -> SavedModel:
    """Read and check what `save_lm` wrote."""
    arrays = read_archive(path, FORMAT, WHAT)
    try:
        context = int(json_of(arrays, "settings")["context"])
        vocabulary = texts_of(arrays, "vocabulary")
        del arrays["settings"], arrays["vocabulary"]
        _check_shapes(arrays, len(vocabulary), context)
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{path}: expected {WHAT}, got a part amiss: {error}") from error
    return SavedModel(arrays, vocabulary, context)


def _check_shapes(parameters: Parameters, words: int, context: int) -> None:
    matrix = parameters["embedding"]
    numbers = matrix.shape[1] if matrix.ndim == 2 else 0
    expected = {"embedding": (words + 1, numbers), "head_bias": (words,)}
    width = context * numbers
    if "hidden_weight" in parameters:
        hidden = parameters["hidden_bias"].size
        expected |= {"hidden_weight": (width, hidden), "hidden_bias": (hidden,)}
        width = hidden
    expected["head_weight"] = (words, width)
    if set(parameters) != set(expected):
        raise ValueError(f"expected the arrays {list(expected)}, got {list(parameters)}")
    for name, shape in expected.items():
        finite_of(parameters, name, np.float32, shape)
