"""Files that other programs write into the output folder while a training is under way."""

import time
from pathlib import Path

import numpy as np
import pytest

from softstep.cli.errors import RunError
from softstep.cli.files.checkpoint import Checkpoint, Identity
from softstep.cli.files.results import HISTORY, PICTURE, WEIGHTS, output_folder
from tests.cli.command_line import contents

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
