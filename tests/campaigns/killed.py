"""Trainings that are killed, run out of disk, or lose their folder, at any moment.

    unshare --map-root-user --mount python -m tests.campaigns.killed --moments 500

After each moment: every file is whole, of the result before or of the new one; `--resume` gives
the bits of a training that nothing happened to; nothing is left behind; nobody waits too long.
The folder lies on a small disk of its own, which only root may mount: hence `unshare`.
"""

import argparse
import csv
import itertools
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from softstep.cli.classifier.weights import load_weights
from softstep.cli.errors import InputError
from softstep.cli.files.archive import read_archive
from softstep.cli.files.checkpoint import FORMATS
from softstep.cli.language_model.weights import load_lm
from tests.campaigns.stroke import APPEARED, FILLER, FOREIGN, MEASURED, STRUCK, Stroke
from tests.cli.command_line import blobs
from tests.support.paths import importing_tests
from tests.support.ranks import commands

RUN = "run"
NAMES = ("weights.npz", "history.csv")
CHECKPOINT = "checkpoint.npz"
# Results that are put beside others, which the command says.
BESIDE = re.compile(r"^(interrupted|finished)-")
# Seconds: what the ranks allow each other, and what a run may take in all on a busy machine.
TIMEOUT, PATIENCE = 10, 90
ENDS = {"SIGKILL": {-9, 137, 9}, "SIGTERM": {143, -15, 15, 0}, "SIGINT": {130, -2, 2, 0}}
FREE = 3 << 20
# What MPI says when all ranks are killed for one.
KILLING = ("BAD TERMINATION", "MPI_Abort")


@dataclass
class Task:
    """A command, on one process or on ranks, and what it gives when nothing happens."""

    name: str
    words: list[str]
    engine: str = ""
    ranks: int = 1
    operations: int = 0
    seconds: float = 0.0
    result: dict[str, bytes] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """Return "train" or "lm"."""
        return self.words[0]


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    statuses: list[int]
    text: str
    seconds: float


def tasks() -> list[Task]:
    train = ["train", "--data", "../blobs.npz", "--hidden", "8", "--batch-size", "20"]
    train += ["--epochs", "4", "--quiet", "--output", RUN, "--checkpoint-every", "1e-9"]
    model = ["--vocabulary", "30", "--embedding", "4", "--hidden", "4", "--batch-size", "32"]
    lm = ["lm", "--text", "../text.txt", "--steps", "15", "--checkpoints", "3", *model]
    lm += ["--no-comparison", "--quiet", "--output", RUN, "--checkpoint-every", "1e-9"]
    ranked = [*train, "--timeout", str(TIMEOUT)]
    return [
        Task("train", train),
        Task("lm", lm),
        Task("train on 2 ranks, MPI", ranked, "mpi", 2),
        Task("train on 2 ranks, gloo", ranked, "gloo", 2),
    ]


def run(task: Task, stroke: Stroke, *more: str, cwd: Path) -> Ended:
    """Run the command; kill and report what does not end in time."""
    starts = commands(task.engine, task.ranks) if task.ranks > 1 else [([sys.executable], {})]
    environment = {**importing_tests(), "SOFTSTEP_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        processes = [
            subprocess.Popen(
                [*start, *stroke.words(), *task.words, *more],
                cwd=cwd, env={**environment, **rank}, stdout=output, stderr=output,
            )
            for start, rank in starts
        ]  # fmt: skip
        late = False
        for process in processes:
            try:
                process.wait(max(0.0, started + PATIENCE - time.monotonic()))
            except subprocess.TimeoutExpired:
                late = True
                process.kill()
                process.wait()
        output.seek(0)
        text = output.read()
    seconds = time.monotonic() - started
    assert not late, f"not ended after {PATIENCE} s:\n{text}"
    return Ended([process.returncode for process in processes], text, seconds)


def finished(folder: Path) -> dict[str, bytes]:
    """Return what of a result does not depend on the speed of the machine."""
    with open(folder / NAMES[1], newline="") as file:
        rows = [",".join(row[:-1]) for row in csv.reader(file)]
    return {NAMES[0]: (folder / NAMES[0]).read_bytes(), NAMES[1]: "\n".join(rows).encode()}


def check_whole(task: Task, folder: Path, before: dict[str, bytes], act: str, said: str) -> None:
    """Every file is the one before, or can be read to its end."""
    # To tidy up: MPI's launcher kills the ranks that are left.
    unable = act in ("SIGKILL", "read-only folder") or any(word in said for word in KILLING)
    load = load_lm if task.command == "lm" else load_weights
    for path in sorted(folder.iterdir()) if folder.exists() else []:
        content = b"" if path.is_dir() else path.read_bytes()
        if content == FOREIGN or before.get(path.name) == content:
            continue
        name = BESIDE.sub("", path.name)
        if name == CHECKPOINT:
            read_archive(path, FORMATS[task.command], "a checkpoint")
        elif name == NAMES[0]:
            load(path)
        elif name == NAMES[1]:
            widths = {line.count(b",") for line in content.splitlines()}
            assert len(widths) == 1 and content.endswith(b"\n"), f"{path.name} is cut"
        else:
            # Which the next softstep removes.
            assert path.is_dir() and unable, f"{path.name} is left behind"
    if before and act != "SIGTERM":
        assert (folder / NAMES[0]).exists(), "the earlier weights are gone"


def go_on(task: Task, cwd: Path) -> None:
    """Finish the training, by its checkpoint if there is one; it must be as if nothing had been."""
    folder = cwd / RUN
    resume = ["--resume"] if (folder / CHECKPOINT).exists() else []
    ended = run(task, Stroke(RUN), *resume, cwd=cwd)
    assert set(ended.statuses) == {0}, f"{resume}: {ended.statuses}: {ended.text}"
    assert finished(folder) == task.result, "other bits than those of the whole training"
    left = {BESIDE.sub("", path.name) for path in folder.iterdir()} - {*NAMES}
    assert not left, f"left behind: {left}"


def moment(task: Task, stroke: Stroke, before: dict[str, bytes], cwd: Path) -> Ended:
    """Let it happen, and go on; return how the first run ended. AssertionError: a loss."""
    folder = cwd / RUN
    shutil.rmtree(folder, ignore_errors=True)
    if before:
        folder.mkdir()
        for name, content in before.items():
            (folder / name).write_bytes(content)
    ended = run(task, stroke, cwd=cwd)
    if stroke.act == "read-only folder":
        subprocess.run(["mount", "-o", "remount,rw", cwd], check=True)
    (cwd / FILLER).unlink(missing_ok=True)
    said = f"{ended.statuses}: {ended.text}"
    assert "Traceback" not in ended.text, said
    if task.ranks == 1:
        expected = ENDS.get(stroke.act, {0, 1, 2}) if STRUCK in ended.text else {0}
        assert ended.statuses[0] in expected, said
    try:
        check_whole(task, folder, before, stroke.act, said)
    except AssertionError as error:
        raise AssertionError(f"{error}; {said}") from error
    if APPEARED in ended.text:
        path = folder / stroke.act.partition(": ")[2]
        assert path.read_bytes() == FOREIGN, "a file of another program is overwritten"
        path.unlink()
    go_on(task, cwd)
    return ended


@contextmanager
def small_disk() -> Iterator[Path]:
    """Yield a folder on a file system of a few MiB, beside the data."""
    with tempfile.TemporaryDirectory(prefix="softstep-killed-") as name:
        place = Path(name)
        features, labels = blobs()
        np.savez(place / "blobs.npz", X=features, y=labels)
        words = random.Random(1).choices([f"w{k}" for k in range(40)], k=3000)
        (place / "text.txt").write_text(" ".join(words))
        disk = place / "disk"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={FREE}", "tmpfs", disk], check=True)
        try:
            yield disk
        finally:
            subprocess.run(["umount", disk], check=True)


def learn(task: Task, cwd: Path) -> dict[str, bytes]:
    """Run it whole; note its result; return that of another seed, to lie there before."""
    ended = run(task, Stroke(RUN), cwd=cwd)
    assert set(ended.statuses) == {0}, ended.text
    task.result = finished(cwd / RUN)
    # Two ranks may say it in one line.
    for operations, seconds in re.findall(rf"{MEASURED}(\d+) (\d+\.\d+)", ended.text):
        task.operations = max(task.operations, int(operations))
        task.seconds = max(task.seconds, float(seconds))
    run(task, Stroke(RUN), "--seed", "5", cwd=cwd)
    before = {name: (cwd / RUN / name).read_bytes() for name in NAMES}
    shutil.rmtree(cwd / RUN)
    return before


ACTS = ("SIGKILL", "SIGTERM", "SIGINT", "full disk", "read-only folder", "file appears: ")


def strokes(task: Task, rng: random.Random) -> Iterator[Stroke]:
    """Yield one of each kind, again and again: at file operations and at moments by turns."""
    for turn in itertools.count():
        for act in ACTS:
            if act == "file appears: ":
                act += rng.choice([*NAMES, CHECKPOINT, "notes.txt"])
            rank = rng.randrange(task.ranks)
            if (turn + rank) % 2 == 0 and rank == 0:
                yield Stroke(RUN, act, operation=rng.randint(1, task.operations))
            else:
                yield Stroke(RUN, act, seconds=rng.uniform(0, task.seconds), rank=rank)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=500, help="in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--task", default="", help="only those whose name begins so")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    tries, losses, longest = Counter[str](), Counter[str](), Counter[str]()
    started = time.monotonic()
    with small_disk() as disk:
        chosen = [task for task in tasks() if task.name.startswith(arguments.task)]
        earlier = {task.name: learn(task, disk) for task in chosen}
        turns = [(task, strokes(task, rng)) for task in chosen]
        for k in range(arguments.moments):
            # PyTorch alone takes long to start.
            slow = turns[-1][0].engine == "gloo" and k % 20 and len(turns) > 1
            task, stream = turns[k % (len(turns) - bool(slow))]
            stroke = next(stream)
            before = earlier[task.name] if rng.random() < 0.5 else {}
            kind = f"{task.name}: {stroke.act.partition(':')[0]}"
            try:
                ended = moment(task, stroke, before, disk)
                # It may have come after the end.
                tries[kind] += STRUCK in ended.text
                longest[kind] = max(longest[kind], ended.seconds)
            except (AssertionError, InputError) as error:
                tries[kind] += 1
                losses[kind] += 1
                print(f"LOSS {kind}: {stroke}, before: {bool(before)}: {error}", flush=True)
                subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
                (disk / FILLER).unlink(missing_ok=True)
    for kind in sorted(tries):
        print(f"{kind}: {tries[kind]} tries, {losses[kind]} losses, {longest[kind]:.1f} s at most")
    print(
        f"{sum(tries.values())} moments, {sum(losses.values())} losses, "
        f"{time.monotonic() - started:.0f} s"
    )
    return 1 if losses.total() else 0


if __name__ == "__main__":
    sys.exit(main())
