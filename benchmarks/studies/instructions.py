"""Instructions and cache lines of one call: counted by Valgrind, the same on every run.

    python benchmarks/studies/instructions.py python --record NAME

The argument is a folder that has a built package. Each case is called once, as in a training loop:
the caches hold other things. Counted are instructions, and lines of 64 bytes that come from memory,
both of the whole call, from Python's bytecode to the result, less those of a call of nothing.
`--record` appends them to the history, whose last two records are printed. Needs valgrind and a C
compiler. Valgrind knows no AVX-512: the kernels are those of x86_64_v3.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

HISTORY = Path(__file__).parents[1] / "results" / "instructions.json"
LAST_LEVEL = 1 << 20  # of the simulated cache: small, so that it is soon full of other things
MARKS = r"""
#include <valgrind/callgrind.h>
void simulate(void) { CALLGRIND_START_INSTRUMENTATION; }
void begin(void) { CALLGRIND_ZERO_STATS; }
void end(const char* name) { CALLGRIND_DUMP_STATS_AT(name); CALLGRIND_STOP_INSTRUMENTATION; }
"""


def cases() -> dict[str, Callable[[], Any]]:
    import numpy as np

    import softstep as ss

    rng = np.random.default_rng(0)

    def problem(shape: tuple[int, ...], dtype: Any = np.float32) -> tuple[Any, Any]:
        classes = shape[1]
        logits = rng.normal(size=shape).astype(dtype)
        return logits, rng.integers(classes, size=(shape[0], *shape[2:]))

    x, y = problem((64, 10))
    out = np.empty_like(x)
    found: dict[str, Callable[[], Any]] = {
        "nothing": lambda: None,
        "softmax 64 x 10, out=": lambda: ss.softmax(x, out=out),
        "cross_entropy 64 x 10": lambda: ss.cross_entropy(x, y),
        "cross_entropy_with_grad 64 x 10, out=": lambda: ss.cross_entropy_with_grad(x, y, out=out),
    }
    for shape in ((1024, 3), (1024, 21), (512, 150), (64, 1000), (1, 21, 64, 64)):
        for dtype in (np.float32, np.float16):
            logits, targets = problem(shape, dtype)
            size = " x ".join(map(str, shape))
            found[f"cross_entropy_with_grad {size} {np.dtype(dtype)}, out="] = (
                lambda logits=logits, targets=targets: ss.cross_entropy_with_grad(
                    logits, targets, axis=1, out=logits, reduction="sum"
                )
            )
    w = [np.ones(shape, np.float32) for shape in ((128, 64), (128,), (10, 128), (10,))]
    g = [np.full_like(p, 1e-30) for p in w]
    sgd, adamw = ss.SGD(w, lr=0.1, momentum=0.9), ss.AdamW(w, lr=0.1)
    found["SGD.step, four tensors"] = lambda: sgd.step(g)
    found["AdamW.step, four tensors"] = lambda: adamw.step(g)
    return found


def child(library: str) -> None:
    """Call every case between two marks, with caches full of something else."""
    import numpy as np

    marks = ctypes.CDLL(library)
    simulate, begin, end = marks.simulate, marks.begin, marks.end
    other = np.ones(4 * LAST_LEVEL // 8)
    called = cases()
    for name, call in [("nothing", called["nothing"]), *called.items()]:
        call()
        label = name.encode()
        simulate()
        other.sum()
        begin()
        call()
        end(label)


def counted(folder: Path) -> dict[str, dict[str, int]]:
    """Run the child under valgrind and read the counts of its calls."""
    with tempfile.TemporaryDirectory() as made:
        library, out = Path(made, "marks.so"), Path(made, "out")
        options = ["-xc", "-", "-shared", "-fPIC", "-O1", "-o", str(library)]
        command = [os.environ.get("CC", "cc"), *options]
        subprocess.run(command, input=MARKS, text=True, check=True)
        simulated = [
            "valgrind",
            "--tool=callgrind",
            "--instr-atstart=no",
            "--cache-sim=yes",
            "--I1=32768,8,64",
            "--D1=32768,8,64",
            f"--LL={LAST_LEVEL},16,64",
            f"--callgrind-out-file={out}",
        ]
        environment = {
            **os.environ,
            "PYTHONPATH": str(folder.resolve()),
            "PYTHONHASHSEED": "0",
            "SOFTSTEP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        child_command = [sys.executable, __file__, "--child", str(library)]
        subprocess.run([*simulated, *child_command], check=True, env=environment)
        found = {}
        for dump in sorted(Path(made).glob("out.*"), key=lambda dump: int(dump.suffix[1:])):
            text = dump.read_text()
            name = re.search(r"desc: Trigger: Client Request: (.*)", text)
            events = re.search(r"^events: (.*)$", text, re.MULTILINE)
            totals = re.search(r"^(?:summary|totals): (.*)$", text, re.MULTILINE)
            if name and events and totals:
                number = dict(zip(events[1].split(), map(int, totals[1].split()), strict=False))
                lines = sum(number.get(event, 0) for event in ("ILmr", "DLmr", "DLmw"))
                found[name[1]] = {"instructions": number["Ir"], "lines": lines}
    nothing = found.pop("nothing")
    return {
        name: {of: count - nothing[of] for of, count in counts.items()}
        for name, counts in found.items()
    }


def table(history: list[dict[str, Any]]) -> str:
    """The last two records beside each other."""
    *_, old, new = [history[0], *history]
    rows = [f"{'':52} {old['name']:>12} {new['name']:>12}        lines"]
    for case, counts in new["calls"].items():
        before = old["calls"].get(case, counts)
        now, then = counts["instructions"], before["instructions"]
        lines = f"{before['lines']:6} {counts['lines']:6}"
        rows.append(f"{case:52} {then:12} {now:12} {now / then:5.2f} {lines}")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="that has a built package")
    parser.add_argument("--record", metavar="NAME", help="append to the history, as NAME")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        return child(arguments.child)
    history = json.loads(HISTORY.read_text()) if HISTORY.exists() else []
    record = {
        "name": arguments.record or "now",
        "date": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        "calls": counted(arguments.folder),
    }
    history.append(record)
    print(table(history))
    if arguments.record:
        HISTORY.write_text(json.dumps(history, indent=1) + "\n")


if __name__ == "__main__":
    main()
