"""The weights file of the language model: parameters, vocabulary and settings, as .npz."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from softstep.cli.language_model.model import Parameters

FORMAT = "softstep-lm-1"


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
        with np.load(path, allow_pickle=False) as archive:
            return str(archive["format"]) == FORMAT
    except (OSError, KeyError, ValueError, TypeError, EOFError, zipfile.BadZipFile):
        return False
