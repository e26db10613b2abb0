"""Damaged files, given to the programs that read them: an error of one line, or a result."""

import atexit
import contextlib
import gzip
import io
import random
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from softstep.cli import main
from tests.campaigns.fuzz.bindings import Finding
from tests.cli.command_line import blobs

TRAIN = ["--hidden", "4", "--epochs", "2", "--quiet", "--batch-size", "16"]
LM = ["--steps", "4", "--checkpoints", "2", "--batch-size", "8", "--vocabulary", "9"]
LM += ["--embedding", "2", "--hidden", "2", "--context", "2", "--no-comparison", "--quiet"]
TEXTS = ["nan", "inf", "-1", "", "1e999", "0", "\x00", "é", '"', "'", ",", ";", "\n", "{", "]" * 9]
TEXTS += ["9" * 40, "null", "[[[[", "<U0", "|O", "(-1,)", "True", "(99999999999,)", "@data"]


class Seeds:
    """Files that are read as they are, in a folder that goes at the end."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="softstep-fuzz-"))
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        features, labels = blobs(40)
        folder = self.folder
        np.savez(folder / "data.npz", X=features, y=labels)
        np.save(folder / "data.npy", np.column_stack([features, labels]))
        rows = [f"{a:.3f},{b:.3f},{'xyz'[k]},{k}" for (a, b, _), k in zip(features, labels)]  # noqa: B905
        table = "a,b,c,label\n" + "\n".join(rows) + "\n"
        (folder / "data.csv").write_text(table)
        (folder / "data.csv.gz").write_bytes(gzip.compress(table.encode()))
        with zipfile.ZipFile(folder / "data.csv.zip", "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("data.csv", table)
        kinds = "@attribute a numeric\n@attribute b numeric\n@attribute c {x,y,z}\n"
        arff = f"@relation r\n{kinds}@attribute label {{0,1,2}}\n@data\n" + "\n".join(rows)
        (folder / "data.arff").write_text(arff)
        try:
            import polars

            polars.read_csv(folder / "data.csv").write_parquet(folder / "data.parquet")
        except ImportError:
            pass
        (folder / "text.txt").write_text("a b c d e f a b c a b a " * 20)
        self.tables = sorted(folder.glob("data.*"))
        self._run("train", "--data", folder / "data.csv", *TRAIN, "--output", folder / "train")
        self._run("lm", "--text", folder / "text.txt", *LM, "--output", folder / "lm")
        self.checkpoints = {
            "train": self._checkpoint("train", "--data", folder / "data.csv", *TRAIN),
            "lm": self._checkpoint("lm", "--text", folder / "text.txt", *LM),
        }

    def _run(self, *words: object) -> None:
        assert run(*words)[0] == 0, words

    def _checkpoint(self, command: str, *words: object) -> bytes:
        """Return the checkpoint of a training that is not finished."""
        from softstep.cli.files.checkpoint import Checkpoint

        folder, kept = self.folder / f"{command}-left", Checkpoint.remove
        Checkpoint.remove = lambda self: None  # type: ignore[method-assign]
        every = ["--checkpoint-every", "1e-9"]
        try:
            self._run(command, *words, *every, "--output", folder)
        finally:
            Checkpoint.remove = kept  # type: ignore[method-assign]
        return (folder / "checkpoint.npz").read_bytes()


def run(*words: object) -> tuple[int, str]:
    """Return the exit status of a command, and what it said on stderr."""
    said, printed = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(printed):
        try:
            status = main(list(map(str, words)))
        except SystemExit as end:
            status = int(end.code or 0)
    return status, said.getvalue()


def damaged(rng: random.Random, content: bytes) -> bytes:
    """Return the bytes with some changed, cut out, moved or put in."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5])):
        at, size = rng.randrange(len(data) + 1), rng.choice([1, 2, 8, 100])
        kind = rng.randrange(6)
        if kind == 0 and data:
            data[at % len(data)] = rng.randrange(256)
        elif kind == 1:
            del data[at : at + size]
        elif kind == 2:
            data[at:at] = rng.randbytes(size)
        elif kind == 3:
            data[at : at + size] = rng.choice(TEXTS).encode()
        elif kind == 4:
            other = rng.randrange(len(data) + 1)
            data[at:at] = data[other : other + size]
        else:
            del data[at:]
    return bytes(data)


def repacked(rng: random.Random, content: bytes) -> bytes:
    """Return the archive with some members damaged, gone or renamed, and right checksums."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old:
        members = {name: old.read(name) for name in old.namelist()}
    for _ in range(rng.choice([1, 1, 2])):
        name = rng.choice(list(members))
        kind = rng.randrange(5)
        if kind == 0:
            del members[name]
        elif kind == 1:
            members[rng.choice(["../x.npy", "weight7.npy", ".npy", "a" * 300])] = members[name]
        elif kind == 2:
            members[name] = members[rng.choice(list(members))]
        elif kind == 3:
            members[name] = _other_array(rng)
        else:
            # Mostly in the header, or in a text.
            members[name] = members[name][:60] + damaged(rng, members[name][60:])
        if not members:
            break
    with zipfile.ZipFile(file, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as new:
        for name, member in members.items():
            new.writestr(name, member)
    return file.getvalue()


def _other_array(rng: random.Random) -> bytes:
    file = io.BytesIO()
    shape = rng.choice([(), (0,), (1,), (3,), (2, 2), (4, 0), (40, 3)])
    dtype = rng.choice(["f4", "f8", "i8", "U3", "S2", "?", "c8", "M8[s]", "V4"])
    values = np.zeros(shape, dtype)
    if dtype == "U3":
        values[...] = rng.choice(["{}", "[]", "1", "nul", "abc"])
    np.save(file, values)
    return file.getvalue()


def any_damage(rng: random.Random, content: bytes) -> bytes:
    """Return a damaged file; an archive may have right checksums all the same."""
    if content.startswith(b"PK") and rng.random() < 0.7:
        return repacked(rng, content)
    return damaged(rng, content)


def several(rng: random.Random) -> Iterator[str]:
    """Let a program read a damaged file; yield what came of it."""
    made = SEEDS
    folder, out = made.folder, made.folder / "out"
    kind = rng.choice(["table", "table", "table", "weights", "weights", "lm", "resume"])
    words: list[object]
    if kind == "table":
        source = rng.choice(made.tables)
        bad = folder / f"bad{''.join(source.suffixes)}"
        bad.write_bytes(any_damage(rng, source.read_bytes()))
        words = ["predict", "--weights", folder / "train/weights.npz", "--data", bad]
        if rng.random() < 0.3:
            words = ["train", "--data", bad, *TRAIN, "--output", out]
    elif kind == "resume":
        command = rng.choice(["train", "lm"])
        out.mkdir(exist_ok=True)
        (out / "checkpoint.npz").write_bytes(any_damage(rng, made.checkpoints[command]))
        which = {
            "train": ["--data", folder / "data.csv", *TRAIN],
            "lm": ["--text", folder / "text.txt", *LM],
        }
        words = [command, *which[command], "--output", out, "--resume"]
    else:
        bad = folder / "bad.npz"
        trained = folder / ("lm" if kind == "lm" else "train") / "weights.npz"
        bad.write_bytes(any_damage(rng, trained.read_bytes()))
        words = ["predict", "--weights", bad, "--data", folder / "data.csv"]
        if kind == "lm":
            words = ["lm", "--weights", bad, "--sample", "3", "--text", folder / "text.txt"]
    try:
        with np.errstate(all="ignore"):
            status, said = run(*words)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise Finding(f"{words}: {type(error).__name__}: {error}") from error
    finally:
        shutil.rmtree(out, ignore_errors=True)
    if status not in (0, 1, 2):
        raise Finding(f"{words}: status {status}: {said}")
    yield f"{kind}: status {status}"


SEEDS = Seeds()
