"""Run `softstep` as a user does: another process, in a folder of its own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

COMMAND = [sys.executable, "-m", "softstep"]
# Small enough for a second, large enough to learn something.
SMALL = ["--hidden", "16", "--epochs", "3"]


def softstep(*words: str, cwd: Path, status: int = 0, hide: str = "") -> tuple[str, str]:
    """Return stdout and stderr; `hide` names a package that cannot be imported."""
    environment = dict(os.environ)
    if hide:
        package = cwd / "hidden" / hide
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(f"raise ImportError('{hide} is hidden')\n")
        paths = [str(package.parent), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    run = subprocess.run(
        [*COMMAND, *words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=240
    )
    assert run.returncode == status, run.stdout + run.stderr
    assert "Traceback" not in run.stderr
    return run.stdout, run.stderr


def blobs(rows: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Return features (rows, 3) and labels 0, 1, 2 of three clouds of points."""
    rng = np.random.default_rng(5)
    labels = np.arange(rows) % 3
    centres = np.array([[0.0, 0.0, 5.0], [4.0, 0.0, 5.0], [0.0, 4.0, 5.0]])
    return centres[labels] + rng.standard_normal((rows, 3)), labels


def write_csv(path: Path, *lines: object) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of `folder` with what is in it."""
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive}


def logits_of(weights: dict[str, np.ndarray], features: np.ndarray) -> np.ndarray:
    """Return what the weights file defines, in float64 and without softstep."""
    limit = weights["limit"]
    x = np.clip((features - weights["mean"]) / weights["scale"], -limit, limit)
    layers = sum(name.startswith("weight") for name in weights)
    for layer in range(layers):
        x = x @ weights[f"weight{layer}"].astype(float) + weights[f"bias{layer}"]
        if layer < layers - 1:
            x = np.maximum(x, 0)
    return x
