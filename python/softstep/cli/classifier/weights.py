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
from softstep.cli.files.archive import (
    array_of,
    finite_of,
    json_of,
    read_archive,
    text_of,
    texts_of,
)
from softstep.cli.files.npy import Arrays
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
    try:
        conversion = Conversion.loaded(
            json_of(arrays, "conversion"),
            finite_of(arrays, "mean", np.float64, (None,)),
            finite_of(arrays, "scale", np.float64, (None,)),
            float(array_of(arrays, "limit", np.float64, ())),
        )
        classes = texts_of(arrays, "classes")
        weights, biases = _layers(arrays, conversion.mean.size, len(classes))
        return Weights(
            weights,
            biases,
            conversion,
            classes,
            texts_of(arrays, "columns"),
            bool(array_of(arrays, "named", np.bool_, ())),
            text_of(arrays, "label_column"),
            json_of(arrays, "settings"),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{problem}, got one with a part missing: {error}") from error


def _layers(arrays: Arrays, inputs: int, outputs: int) -> tuple[list[Floats], list[Floats]]:
    """Return weights and biases, each layer of which has the outputs of the one before."""
    weights, biases = list[Floats](), list[Floats]()
    for layer in range(sum(name.startswith("weight") for name in arrays)):
        bias = finite_of(arrays, f"bias{layer}", np.float32, (None,))
        weights.append(finite_of(arrays, f"weight{layer}", np.float32, (inputs, bias.size)))
        biases.append(bias)
        inputs = bias.size
    if not weights or inputs != outputs:
        raise ValueError(f"expected an output per class ({outputs}), got {inputs}")
    return weights, biases
