"""The hidden folder in which a result is made: whose it is, and that it does not stay."""

import fcntl
import os
import shutil
import signal
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from softstep.cli.files import staging
from softstep.cli.files.staging import staging_folder
from softstep.cli.process.interrupts import ENDING, Interrupted, interrupts_raised


def test_a_process_that_is_about_to_end_is_waited_for(tmp_path: Path) -> None:
    """A launcher may end before the ranks that it killed."""
    (tmp_path / f"{staging.PREFIX}dying").mkdir()
    lock = os.open(tmp_path / f"{staging.PREFIX}dying", os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    end = threading.Timer(0.3, os.close, [lock])
    end.start()
    with staging_folder(tmp_path, alone=True) as folder:
        assert list(tmp_path.iterdir()) == [folder]
    end.join()


def test_only_the_staging_folders_of_the_dead_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".softstep-staging-dead").mkdir()
    (tmp_path / ".softstep-staging-dead" / "part").write_text("half of it")
    with staging_folder(tmp_path) as first, staging_folder(tmp_path) as second:
        assert sorted(tmp_path.iterdir()) == sorted([first, second])


@pytest.mark.parametrize("number", ENDING)
@pytest.mark.parametrize("module, name", [(tempfile, "mkdtemp"), (shutil, "rmtree")])
def test_a_signal_while_the_staging_folder_is_made_or_removed_leaves_none(
    module: Any, name: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = getattr(module, name)

    def interrupted(*arguments: Any, **options: Any) -> Any:
        if name == "rmtree":
            os.kill(os.getpid(), number)
        result = function(*arguments, **options)
        if name == "mkdtemp":
            os.kill(os.getpid(), number)
        return result

    monkeypatch.setattr(module, name, interrupted)
    # Not ignored, as after nohup and in a shell's background.
    former = signal.signal(number, signal.SIG_DFL)
    try:
        with (
            pytest.raises(Interrupted) as ended,
            interrupts_raised(),
            staging_folder(tmp_path) as made,
        ):
            (made / "part").write_text("half of it")
            assert name == "rmtree", "the signal is not forgotten"
    finally:
        signal.signal(number, former)
    assert ended.value.number == number and not list(tmp_path.iterdir())
