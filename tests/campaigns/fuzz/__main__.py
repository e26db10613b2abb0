"""Fuzz a target: `python -m tests.campaigns.fuzz bindings --seconds 300`.

Each execution has a seed of its own: `--seed S --only K` repeats one. They run in another process,
so that a crash is a finding like any other.
"""

import argparse
import collections
import faulthandler
import importlib
import json
import mmap
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

TARGETS = ["bindings", "state", "files"]
MOST_MEMORY = 8 << 30
# Of an execution, on a busy machine; longer ones are findings.
MOST_SECONDS = 30
PLACE = "progress"
OUTCOMES = "outcomes.json"


def execute(target: Any, seed: int, index: int) -> str:
    return str(target.one(random.Random(f"{seed} {index}")))


def work(name: str, seed: int, first: int, seconds: float, folder: Path) -> None:
    """Execute from ``first`` on until the time is up; leave the outcomes in ``folder``."""
    target = importlib.import_module(f"tests.campaigns.fuzz.{name}")
    outcomes = collections.Counter[str]()
    end, index = time.monotonic() + seconds, first
    # Which execution is under way outlives the process in a file.
    with open(folder / PLACE, "r+b") as file, mmap.mmap(file.fileno(), 8) as place:
        while time.monotonic() < end:
            place[:8] = index.to_bytes(8, "little")
            faulthandler.dump_traceback_later(MOST_SECONDS, exit=True)
            try:
                outcomes[execute(target, seed, index)] += 1
            except AssertionError as error:
                outcomes["FINDING"] += 1
                print(f"FINDING --seed {seed} --only {index}: {error}"[:2000], flush=True)
            index += 1
    faulthandler.cancel_dump_traceback_later()
    (folder / OUTCOMES).write_text(json.dumps([index - first, outcomes]))


def run(name: str, seed: int, seconds: float, folder: Path) -> int:
    """Fuzz; return how many findings there are."""
    first, total, outcomes, crashes = 0, 0, collections.Counter[str](), 0
    # What a crash leaves behind goes with the folder.
    environment = {**os.environ, "TMPDIR": str(folder)}
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        (folder / PLACE).write_bytes(bytes(8))
        words = [name, "--seed", str(seed), "--seconds", str(left)]
        more = ["--first", str(first), "--folder", str(folder)]
        command = [sys.executable, "-m", "tests.campaigns.fuzz", *words, *more]
        status = subprocess.run(command, env=environment).returncode
        if status == 0:
            count, found = json.loads((folder / OUTCOMES).read_text())
            total, outcomes = total + count, outcomes + collections.Counter(found)
            break
        crashes += 1
        index = int.from_bytes((folder / PLACE).read_bytes(), "little")
        print(f"CRASH ({status}) --seed {seed} --only {index}", flush=True)
        total, first = total + index + 1 - first, index + 1
    for outcome, count in sorted(outcomes.items()):
        print(f"  {outcome}: {count}")
    findings = outcomes["FINDING"] + crashes
    print(f"{name}: {total} executions in {seconds:.0f} s, {findings} findings (seed {seed})")
    return findings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", type=int, help="repeat one execution in this process")
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    faulthandler.enable()
    warnings.simplefilter("ignore")
    if "asan" not in os.environ.get("LD_PRELOAD", ""):  # which takes all addresses there are
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    name, seed, seconds = arguments.target, arguments.seed, arguments.seconds
    if arguments.only is not None:
        print(
            execute(importlib.import_module(f"tests.campaigns.fuzz.{name}"), seed, arguments.only)
        )
        return 0
    if arguments.folder is not None:
        work(name, seed, arguments.first, seconds, arguments.folder)
        return 0
    shared = "/dev/shm" if os.path.exists("/dev/shm") else None
    with tempfile.TemporaryDirectory(prefix="softstep-fuzz-", dir=shared) as folder:
        return 1 if run(name, seed, seconds, Path(folder)) else 0


if __name__ == "__main__":
    sys.exit(main())
