"""Packages of the ``[demo]`` extra: imported when needed, missed with a way out."""

from __future__ import annotations

import importlib
from typing import Any

from softstep.cli.errors import InputError


def demo_module(module: str, package: str, purpose: str) -> Any:
    """Import ``module`` of ``package``, or say how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f'{purpose} needs {package}: pip install "softstep[demo]" ({error})'
        ) from error
