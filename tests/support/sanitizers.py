"""What the address sanitizer changes of a process, which `nox -s sanitize` loads before Python."""

import os

import pytest

ADDRESS = "libasan" in os.environ.get("LD_PRELOAD", "")
without_address_sanitizer = pytest.mark.skipif(
    ADDRESS, reason="the address sanitizer has an allocator of its own, which gives nothing back"
)
# A process that touches what it may not: the sanitizer says so, and exits as the session asks.
SEGMENTATION_FAULT = 23 if ADDRESS else -11


def let_tests_judge_children() -> None:
    """Python's leaks would change the exit status of every program that a test runs."""
    options = os.environ.get("ASAN_OPTIONS", "")
    if options:
        os.environ["ASAN_OPTIONS"] = f"{options}:detect_leaks=0:log_path=stderr"
