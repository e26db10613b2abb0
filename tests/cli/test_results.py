"""The output folder: files of others that appear there, and results that are there in part."""

import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from softstep.cli import main
from softstep.cli.errors import RunError
from softstep.cli.files import results, staging
from softstep.cli.files.checkpoint import Checkpoint, Identity
from softstep.cli.files.results import HISTORY, PICTURE, WEIGHTS, output_folder
from tests.cli.command_line import blobs, contents

FOREIGN = b"mine"
IDENTITY = Identity({"seed": 0}, "data", "00")


def published(path: Path, *names: str, interrupted: bool, result: bool) -> list[str]:
    """Publish a result while files of these names appear; return the names that it got."""
    with output_folder(path, lambda file: result) as folder:
        for name in names:
            (path / name).write_bytes(FOREIGN)
        for name in (WEIGHTS, HISTORY):
            (folder.staging / name).write_bytes(b"new")
        return [file.name for file in folder.publish(interrupted=interrupted)]


@pytest.mark.parametrize("interrupted", [False, True])
@pytest.mark.parametrize("name", [WEIGHTS, HISTORY])
def test_a_result_is_put_beside_what_has_appeared(
    name: str, interrupted: bool, tmp_path: Path
) -> None:
    prefix = "interrupted-" if interrupted else "finished-"
    names = published(tmp_path, name, interrupted=interrupted, result=False)
    assert names == [prefix + HISTORY, prefix + WEIGHTS]
    assert contents(tmp_path) == {name: FOREIGN, **dict.fromkeys(names, b"new")}


def test_a_picture_that_has_appeared_stays(tmp_path: Path) -> None:
    names = published(tmp_path, PICTURE, interrupted=False, result=False)
    assert names == [HISTORY, WEIGHTS]
    assert contents(tmp_path) == {PICTURE: FOREIGN, **dict.fromkeys(names, b"new")}


def test_the_picture_of_an_earlier_result_goes(tmp_path: Path) -> None:
    for name in (PICTURE, WEIGHTS):
        (tmp_path / name).write_bytes(b"old")
    assert published(tmp_path, interrupted=False, result=True) == [HISTORY, WEIGHTS]
    assert contents(tmp_path) == {HISTORY: b"new", WEIGHTS: b"new"}


def test_a_checkpoint_that_has_appeared_is_neither_replaced_nor_removed(tmp_path: Path) -> None:
    (tmp_path / "staging").mkdir()
    checkpoint = Checkpoint(tmp_path, tmp_path / "staging", IDENTITY, 5.0, "train")
    checkpoint.refuse_leftover()
    checkpoint.path.write_bytes(FOREIGN)
    with pytest.raises(
        RunError, match=r"checkpoint\.npz: another program has written it meanwhile"
    ):
        checkpoint.save({}, time.monotonic())
    checkpoint.remove()
    assert checkpoint.path.read_bytes() == FOREIGN


@pytest.mark.parametrize("loaded", [False, True])
def test_our_own_checkpoint_is_replaced_and_removed(loaded: bool, tmp_path: Path) -> None:
    (tmp_path / "staging").mkdir()
    first, second = (
        Checkpoint(tmp_path, tmp_path / "staging", IDENTITY, 5.0, "train") for _ in range(2)
    )
    first.save({"a": np.zeros(1)}, time.monotonic())
    own = second if loaded else first
    if loaded:
        second.load()
    own.save({"a": np.ones(1)}, time.monotonic())
    assert own.load()["a"] == 1
    own.remove()
    assert not own.path.exists()


@pytest.mark.parametrize("plot", [[], ["--plot"]])
def test_a_result_that_was_published_in_part_is_resumed(
    plot: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of its files a killed training had put there, in a folder that had none."""
    features, labels = blobs()
    np.savez(tmp_path / "blobs.npz", X=features, y=labels)
    monkeypatch.chdir(tmp_path)
    words = ["train", "--data", "blobs.npz", "--hidden", "8", "--epochs", "5", "--quiet"]
    words += ["--checkpoint-every", "1e-9", *plot]
    assert main(words) == 0
    whole = contents(tmp_path / "softstep-run")

    class Killed(BaseException):
        """As SIGKILL: nothing is tidied up but by the context managers."""

    for published in range(len(whole)):
        shutil.rmtree(tmp_path / "softstep-run")
        left = published

        def replace(file: Path, target: Path) -> None:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            staging.replace(file, target)

        with monkeypatch.context() as patched:
            patched.setattr(results, "replace", replace)
            with pytest.raises(Killed):
                main(words)
        assert len(contents(tmp_path / "softstep-run")) == 1 + published
        assert main([*words, "--resume"]) == 0
        found = contents(tmp_path / "softstep-run")
        assert sorted(found) == sorted(whole) and found["weights.npz"] == whole["weights.npz"]
