"""The modules whose names are public."""

import importlib
from types import ModuleType

NAMES = ("", ".schedules", ".torch", ".transformers", ".jax", ".sklearn", ".distributed")


def front_ends() -> list[ModuleType]:
    return [importlib.import_module(f"softstep{name}") for name in NAMES]
