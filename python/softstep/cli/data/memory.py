"""How much of a file may be unpacked: what this machine can hold."""

from __future__ import annotations

import os
import resource
from pathlib import Path

CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def most_unpacked() -> int:
    """Return half of the bytes that machine, container and `ulimit -v` let this process have."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        limits.append(soft)
    limits += filter(None, map(_limit, CGROUPS))
    # The rest is for the copy that is trained on.
    return min(limits) // 2


def _limit(file: str) -> int | None:
    try:
        text = Path(file).read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
