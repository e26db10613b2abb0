"""Fuzz a target: `python -m tests.campaigns.fuzz bindings --seconds 300`.

Executions that share what was drawn for them have a seed of their own: `--seed S --only K` repeats
them. They run in another process, so that a crash is a finding like any other.
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TARGETS = ["bindings", "state", "files"]
MOST_MEMORY = 8 << 30
# Of executions that share a seed, on a busy machine; longer ones are findings.
MOST_SECONDS = 30
PLACE = "progress"
OUTCOMES = "outcomes.json"


def execute(target: Any, seed: int, index: int) -> Iterator[str]:
    yield from target.several(random.Random(f"{seed} {index}"))


def work(name: str, seed: int, first: int, seconds: float, folder: Path) -> None:
    """Execute from ``first`` on until the time is up; leave the outcomes in ``folder``."""
    target = importlib.import_module(f"tests.campaigns.fuzz.{name}")
    outcomes = collections.Counter[str]()
    end, index = time.monotonic() + seconds, first
    # Which executions are under way outlives the process in a file.
    with open(folder / PLACE, "r+b") as file, mmap.mmap(file.fileno(), 8) as place:
        while time.monotonic() < end:
            place[:8] = index.to_bytes(8, "little")
            faulthandler.dump_traceback_later(MOST_SECONDS, exit=True)
            try:
                for outcome in execute(target, seed, index):
                    outcomes[outcome] += 1
            except AssertionError as error:
                outcomes["FINDING"] += 1
                print(f"FINDING --seed {seed} --only {index}: {error}"[:2000], flush=True)
            index += 1
    faulthandler.cancel_dump_traceback_later()
    (folder / OUTCOMES).write_text(json.dumps(outcomes))


def run(name: str, seed: int, seconds: float, folder: Path) -> int:
    """Fuzz; return how many findings there are."""
    first, outcomes = 0, collections.Counter[str]()
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
            outcomes.update(json.loads((folder / OUTCOMES).read_text()))
            break
        outcomes["CRASH"] += 1
        index = int.from_bytes((folder / PLACE).read_bytes(), "little")
        print(f"CRASH ({status}) --seed {seed} --only {index}", flush=True)
        first = index + 1
    for outcome, count in sorted(outcomes.items()):
        print(f"  {outcome}: {count}")
    findings = outcomes["FINDING"] + outcomes["CRASH"]
    print(
        f"{name}, seed {seed}: {outcomes.total()} executions, {seconds:.0f} s, {findings} findings"
    )
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
        target = importlib.import_module(f"tests.campaigns.fuzz.{name}")
        print(*execute(target, seed, arguments.only))
        return 0
    if arguments.folder is not None:
        work(name, seed, arguments.first, seconds, arguments.folder)
        return 0
    shared = "/dev/shm" if os.path.exists("/dev/shm") else None
    with tempfile.TemporaryDirectory(prefix="softstep-fuzz-", dir=shared) as folder:
        return 1 if run(name, seed, seconds, Path(folder)) else 0


if __name__ == "__main__":
    sys.exit(main())
