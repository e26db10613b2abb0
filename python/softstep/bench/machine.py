"""Where the numbers come from: processor, memory pages, threads, versions, noise."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import softstep as ss
from softstep.bench.peers import versions

# Settings of the runtimes that change what is measured.
VARIABLES = ("OMP_", "GOMP_", "KMP_", "OPENBLAS_", "MKL_", "SOFTSTEP_", "XLA_", "ATEN_", "THP_")


def describe(peers: dict[str, Any]) -> dict[str, Any]:
    """Return what a reader needs in order to compare numbers, as JSON values."""
    config = ss.show_config()
    return {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cpus": len(os.sched_getaffinity(0)),
        "caches": _caches(),
        "huge_pages": _selected(Path("/sys/kernel/mm/transparent_hugepage/enabled")),
        "system": f"{platform.system()} {platform.release()}",
        "isa": config.isa,
        "threads": config.threads,
        "threads_source": config.threads_source,
        "parallel_backend": config.parallel_backend,
        "compiler": config.compiler,
        "python": platform.python_version(),
        "versions": versions(list(peers)),
        "peer_settings": _peer_settings(peers),
        "blas": _blas(),
    }


def variables() -> dict[str, str]:
    """Return the environment variables that set up the runtimes."""
    return {name: value for name, value in os.environ.items() if name.startswith(VARIABLES)}


def load_average() -> float:
    """Return how many threads of the whole machine wanted to run, over the last minute."""
    return round(os.getloadavg()[0], 2)


def stolen_seconds() -> float:
    """Return the CPU time that the hypervisor has given to others since the start."""
    try:
        words = Path("/proc/stat").read_text().splitlines()[0].split()
        return int(words[8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return 0.0


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _caches() -> dict[str, str]:
    """Return the size of each data cache of the first CPU."""
    sizes = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind, level, size = (_text(folder / name) for name in ("type", "level", "size"))
        if kind != "Instruction" and level:
            sizes[f"L{level}"] = size
    return sizes


def _selected(path: Path) -> str:
    """Return the word in brackets: ``always [madvise] never``."""
    return _text(path).partition("[")[2].partition("]")[0]


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _peer_settings(peers: dict[str, Any]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if "torch" in peers or "torch.compile" in peers:
        torch = sys.modules["torch"]
        settings["torch_threads"] = torch.get_num_threads()
        settings["torch_isa"] = torch.backends.cpu.get_cpu_capability()
    if "jax" in peers:
        settings["jax_devices"] = [str(device) for device in peers["jax"].devices()]
    return settings


def _blas() -> Sequence[dict[str, Any]]:
    """Return the thread pools that threadpoolctl sees, if it is installed."""
    try:
        pools = importlib.import_module("threadpoolctl").threadpool_info()
    except ImportError:
        return []
    names = ("prefix", "version", "num_threads", "threading_layer", "architecture")
    return [{name: pool[name] for name in names if name in pool} for pool in pools]
