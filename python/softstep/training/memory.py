"""How much more memory a call takes at its peak than was taken before it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")


def with_peak(run: Callable[[], T]) -> tuple[T, int | None]:
    """Call ``run``; return its result and the peak in bytes above the memory resident before.

    None where the system cannot say. Memory that an allocator had kept from earlier calls is not
    seen, if it was still resident.
    """
    try:
        # Makes the kernel forget the peak until now.
        RESET.write_text("5")
        before = _resident("VmRSS")
    except (OSError, KeyError):
        return run(), None
    result = run()
    return result, max(0, _resident("VmHWM") - before)


def _resident(name: str) -> int:
    fields: dict[str, Any] = dict(
        line.split(":", 1) for line in STATUS.read_text().splitlines() if ":" in line
    )
    return 1024 * int(fields[name].split()[0])
