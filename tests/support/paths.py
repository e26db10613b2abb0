"""Where the sources are, for tests that read them or run programs of the tests."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def importing_tests() -> dict[str, str]:
    """Return the environment of a program that imports `tests`."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
