"""Which peers are here, and how they are set up: the CPU, and as many threads as softstep."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import metadata
from typing import Any

import softstep as ss
from softstep.bench.contender import OWN, PEERS, ROOFLINE

SELECTABLE = tuple(name for name in PEERS if name not in (OWN, ROOFLINE))
DISTRIBUTIONS = {"sklearn": "scikit-learn"}


def _set_up_torch(torch: Any) -> None:
    torch.set_num_threads(ss.get_num_threads())
    # What the compiler remarks would break the progress bar; its failures are reported.
    torch._logging.set_logs(all=logging.ERROR)
    # Only possible before the first parallel call of the process; no case uses them.
    with suppress(RuntimeError):
        torch.set_num_interop_threads(1)


def _set_up_jax(jax: Any) -> None:
    jax.config.update("jax_platforms", "cpu")
    # For the float64 cases; float32 arrays stay float32.
    jax.config.update("jax_enable_x64", True)


SET_UP: dict[str, Callable[[Any], None]] = {"torch": _set_up_torch, "jax": _set_up_jax}


def load_peers(names: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Import ``names``; return the main module of each that is here, and why others are not."""
    # JAX would otherwise look for accelerators while it is imported.
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    present: dict[str, Any] = {}
    absent: dict[str, str] = {}
    for name in names:
        modules = PEERS[name].modules
        missing = [module for module in modules if not _is_installed(module)]
        if missing:
            absent[name] = f"{missing[0].partition('.')[0]} is not installed"
            continue
        try:
            loaded = [importlib.import_module(module) for module in modules]
        except Exception as error:  # whatever a broken installation raises
            absent[name] = f"cannot be imported: {first_line(error)}"
            continue
        for module in loaded:
            SET_UP.get(module.__name__, lambda module: None)(module)
        present[name] = loaded[0]
    return present, absent


def versions(names: Sequence[str]) -> dict[str, str]:
    """Return the versions of the packages behind ``names``."""
    packages = {module.partition(".")[0] for name in names for module in PEERS[name].modules}
    result = {"softstep": ss.__version__, "numpy": metadata.version("numpy")}
    for package in sorted(packages):
        distribution = DISTRIBUTIONS.get(package, package)
        result[distribution] = metadata.version(distribution)
    return result


def first_line(error: BaseException) -> str:
    """Return the error's kind and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module.partition(".")[0]) is not None
