"""Time a NumPy training loop under thread settings: does anybody's idle thread steal a core?

Matrix products are NumPy's (OpenBLAS, with threads of its own), loss and update are softstep's.
Each measurement is a process of its own, because runtimes read their settings when they are
loaded; settings are interleaved and the median over the rounds is printed, in ms per step.
The last column is the default environment against the best of all settings.

    python benchmarks/studies/thread_settings.py --rounds 5 --imports alone,torch --json out.json
    python benchmarks/studies/thread_settings.py --busy 2 --backends pool=A omp=B llvm=B:libomp.so.5

The second form compares packages in folders, by the default environment, beside processes that
compute all the time; a library is loaded first, in place of libgomp.

Needs an otherwise idle machine. docs/design/0003-threading.md holds the numbers that chose the
default backend.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

# batch, inputs, hidden units, classes, steps per measurement
MODELS = {
    "small": (64, 64, 128, 10, 300),
    "medium": (256, 256, 512, 200, 100),
    "large": (512, 784, 1024, 1000, 16),
}
IMPORTS = ("alone", "torch", "sklearn", "jax")
SETTINGS: dict[str, dict[str, str]] = {
    "default": {},
    "OMP_WAIT_POLICY=passive": {"OMP_WAIT_POLICY": "passive"},
    "OMP_NUM_THREADS=1": {"OMP_NUM_THREADS": "1"},
    "OPENBLAS_NUM_THREADS=1": {"OPENBLAS_NUM_THREADS": "1"},
    "SOFTSTEP_NUM_THREADS=1": {"SOFTSTEP_NUM_THREADS": "1"},
}


def step_ms(model: str) -> float:
    """Median time of one training step, in this process."""
    import softstep as ss

    batch, inputs, hidden, classes, steps = MODELS[model]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, inputs), dtype=np.float32)
    target = rng.integers(classes, size=batch)
    w1 = rng.standard_normal((inputs, hidden), dtype=np.float32) * np.float32(inputs**-0.5)
    w2 = rng.standard_normal((hidden, classes), dtype=np.float32) * np.float32(hidden**-0.5)
    b1, b2 = np.zeros(hidden, np.float32), np.zeros(classes, np.float32)
    params = [w1, b1, w2, b2]
    sgd = ss.SGD(params, 0.01, momentum=0.9, weight_decay=1e-4)
    # Everything is allocated once: page faults of temporaries vary more than the threads do.
    grads = [np.empty_like(param) for param in params]
    h, dh = np.empty((2, batch, hidden), np.float32)
    logits = np.empty((batch, classes), np.float32)
    times = []
    for _ in range(steps + steps // 4):
        start = time.perf_counter()
        np.matmul(x, w1, out=h)
        h += b1
        np.maximum(h, 0, out=h)
        np.matmul(h, w2, out=logits)
        logits += b2
        _, dlogits = ss.cross_entropy_with_grad(logits, target, out=logits)
        np.matmul(dlogits, w2.T, out=dh)
        dh *= h > 0
        np.matmul(x.T, dh, out=grads[0])
        np.sum(dh, axis=0, out=grads[1])
        np.matmul(h.T, dlogits, out=grads[2])
        np.sum(dlogits, axis=0, out=grads[3])
        sgd.step(grads)
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times[steps // 4 :])


def child(imported: str) -> None:
    """Print one process's measurements as JSON."""
    if imported != "alone":
        importlib.import_module(imported)
    if imported == "sklearn":  # `import sklearn` itself loads no OpenMP runtime in every release
        importlib.import_module("sklearn.utils._openmp_helpers")
    print(json.dumps({model: step_ms(model) for model in MODELS}))


def environment_of(backend: str, beside: int) -> dict[str, str]:
    """Return what NAME=FOLDER[:LIBRARY] asks for, beside so many busy processes."""
    folder, _, library = backend.partition("=")[2].partition(":")
    chosen = {"PYTHONPATH": str(Path(folder).resolve()), "LD_PRELOAD": library}
    # Two threads of OpenBLAS there take 0.2 or 32 ms for the small step, by chance.
    return chosen | ({"OPENBLAS_NUM_THREADS": "1"} if beside else {})


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Let processes compute meanwhile."""
    command = [sys.executable, "-c", "while True: pass"]
    running = [subprocess.Popen(command) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()


def measure(imported: str, changed: dict[str, str]) -> dict[str, float]:
    """Run one process under one setting."""
    owned = {name for values in SETTINGS.values() for name in values}
    environment = {name: value for name, value in os.environ.items() if name not in owned}
    done = subprocess.run(
        [sys.executable, Path(__file__).resolve(), "--child", imported],
        env={**environment, **changed},
        stdout=subprocess.PIPE,
        check=True,
    )
    result: dict[str, float] = json.loads(done.stdout)
    return result


def table(medians: dict[str, dict[str, dict[str, float]]]) -> str:
    """One row for each process and model."""
    names = [*next(iter(medians.values())), "first/best"]
    width = max(map(len, names)) + 2
    lines = [f"{'':16}" + "".join(f"{name:>{width}}" for name in names)]
    for imported, by_setting in medians.items():
        for model in MODELS:
            row = [by_model[model] for by_model in by_setting.values()]
            cells = "".join(f"{value:{width}.3f}" for value in row)
            lines.append(f"{imported + ' ' + model:16}{cells}{row[0] / min(row):{width}.2f}")
    return "\n".join(lines)


def main() -> None:
    """Measure every process under every setting and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--imports", default=",".join(IMPORTS), help="comma-separated")
    parser.add_argument("--backends", nargs="+", metavar="NAME=FOLDER[:LIBRARY]", default=[])
    parser.add_argument("--busy", type=int, default=0, help="processes that compute meanwhile")
    parser.add_argument("--json", type=Path, help="also write every measurement here")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child)
        return
    imports = arguments.imports.split(",")
    missing = [name for name in imports if name != "alone" and not importlib.util.find_spec(name)]
    if missing:
        print("not installed, left out:", ", ".join(missing))
    imports = [name for name in imports if name not in missing]
    settings = SETTINGS
    if arguments.backends:
        settings = {
            b.partition("=")[0]: environment_of(b, arguments.busy) for b in arguments.backends
        }
    runs = {
        name: {setting: {model: [] for model in MODELS} for setting in settings} for name in imports
    }
    with busy(arguments.busy):
        for _ in range(arguments.rounds):
            for name in imports:
                for setting, changed in settings.items():
                    for model, value in measure(name, changed).items():
                        runs[name][setting][model].append(value)
    medians = {
        name: {
            setting: {model: statistics.median(values) for model, values in by_model.items()}
            for setting, by_model in by_setting.items()
        }
        for name, by_setting in runs.items()
    }
    print(table(medians))
    if arguments.json:
        arguments.json.write_text(json.dumps(runs, indent=1))


if __name__ == "__main__":
    main()
