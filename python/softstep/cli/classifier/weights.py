"""The weights file: everything that a prediction needs, as an .npz archive."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from softstep.cli.data.conversion import Conversion
from softstep.cli.errors import InputError
from softstep.cli.files.archive import json_of, read_archive, texts_of
from softstep.training.network import Floats

FORMAT = "softstep-mlp-2"


@dataclass(frozen=True)
class Weights:
    """A trained MLP with the conversion of its columns and the names of its classes."""

    weights: Sequence[Floats]
    biases: Sequence[Floats]
    conversion: Conversion
    classes: list[str]
    # All columns of the file at training, by name or position, and which of them was the label.
    columns: list[str]
    named: bool
    label_column: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the archive to exactly ``path``."""
        arrays: dict[str, Any] = {
            "format": np.array(FORMAT),
            "classes": np.array(self.classes),
            "mean": self.conversion.mean,
            "scale": self.conversion.scale,
            "limit": np.array(self.conversion.limit),
            "conversion": np.array(json.dumps(self.conversion.saved())),
            "columns": np.array(self.columns, np.str_),
            "named": np.array(self.named),
            "label_column": np.array(self.label_column),
            "settings": np.array(json.dumps(self.settings)),
        }
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            arrays[f"weight{layer}"] = weight
            arrays[f"bias{layer}"] = bias
        with open(path, "wb") as file:
            np.savez(file, **arrays)


def is_weights_file(path: Path) -> bool:
    """Return whether ``path`` is a weights file of this format."""
    try:
        load_weights(path)
    except (InputError, OSError):
        return False
    return True


def load_weights(path: Path) -> Weights:
    """Read and check what ``Weights.save`` wrote."""
    what = "a weights file that `softstep train` wrote"
    arrays, problem = read_archive(path, FORMAT, what), f"{path}: expected {what}"
    layers = sum(name.startswith("weight") for name in arrays)
    try:
        loaded = Weights(
            [arrays[f"weight{layer}"] for layer in range(layers)],
            [arrays[f"bias{layer}"] for layer in range(layers)],
            Conversion.loaded(
                json_of(arrays, "conversion"),
                arrays["mean"],
                arrays["scale"],
                float(arrays["limit"]),
            ),
            texts_of(arrays, "classes"),
            texts_of(arrays, "columns"),
            bool(arrays["named"]),
            str(arrays["label_column"]),
            json_of(arrays, "settings"),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{problem}, got one with a part missing: {error}") from error
    _check_shapes(loaded, problem)
    return loaded


def _check_shapes(loaded: Weights, problem: str) -> None:
    inputs = loaded.conversion.mean.shape
    for layer, (weight, bias) in enumerate(zip(loaded.weights, loaded.biases, strict=True)):
        expected = (*inputs, *bias.shape)
        if weight.ndim != 2 or weight.shape != expected or weight.dtype != np.float32:
            raise InputError(
                f"{problem}: weight{layer}: expected float32 of shape {expected}, "
                f"got {weight.dtype} of shape {weight.shape}"
            )
        if bias.dtype != np.float32:
            raise InputError(f"{problem}: bias{layer}: expected float32, got {bias.dtype}")
        inputs = bias.shape
    if not loaded.weights or inputs != (len(loaded.classes),):
        raise InputError(
            f"{problem}: expected an output per class ({len(loaded.classes)}), got {inputs}"
        )
