"""What the address sanitizer changes of a process, which `nox -s sanitize` loads before Python."""

import ctypes
import os

import pytest

ADDRESS = "libasan" in os.environ.get("LD_PRELOAD", "")
without_address_sanitizer = pytest.mark.skipif(
    ADDRESS, reason="the address sanitizer has an allocator of its own, which gives nothing back"
)
# A process that touches what it may not: the sanitizer says so, and exits.
SEGMENTATION_FAULT = 1 if ADDRESS else -11


def report_leaks() -> None:
    """Let the sanitizer write what memory is lost into its report, if it looks for leaks."""
    if ADDRESS:
        ctypes.CDLL(None).__lsan_do_recoverable_leak_check()
