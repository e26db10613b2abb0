"""Processes that live for a whole run and take turns: each answers a line with a number."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def start(script: str, folder: str, **environment: str) -> subprocess.Popen[str]:
    """Run a script as a child that answers, with the package that a folder has."""
    variables = {**os.environ, "PYTHONPATH": str(Path(folder).resolve()), **environment}
    command = [sys.executable, script, "--child"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=variables)


def ask(process: subprocess.Popen[str], question: str) -> float:
    assert process.stdin and process.stdout
    process.stdin.write(question + "\n")
    process.stdin.flush()
    return float(process.stdout.readline())
