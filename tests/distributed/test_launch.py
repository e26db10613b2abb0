"""The communicator by how a process was started, and jobs of which a rank fails."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from softstep.cli import main
from softstep.distributed import Single, communicator
from softstep.distributed.engines.launch import launched_rank
from tests.support.ranks import ENGINES, launch


def fail(how: str) -> None:
    """What rank 1 does while rank 0 waits for it in an all-reduce."""
    comm = communicator(timeout=60)
    comm.barrier()
    if comm.rank == 1:
        if how == "raise":
            raise ValueError("rank 1 has no data")
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "abort":
            comm.abort("rank 1 gives up")
    comm.all_reduce(np.zeros(3))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raise", "ValueError: rank 1 has no data"),
        ("kill", "Killed"),
        ("abort", "rank 1 gives up"),
    ],
)
def test_a_rank_that_fails_ends_the_job(how: str, message: str) -> None:
    assert message in launch("mpi", 2, __file__, how, timeout=30, status=None)


class InterruptedImport:
    """Presses Ctrl-C on rank 1 before it is one of the ranks, while rank 0 waits for that."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        """Find nothing."""
        if name == "softstep.cli.train" and launched_rank() == 1:
            os.kill(os.getpid(), signal.SIGINT)


def interrupt() -> None:
    # As a batch system starts it: a shell's background has Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.meta_path.insert(0, InterruptedImport)
    sys.exit(main(["train", "--timeout", "5"]))


@pytest.mark.parametrize("engine", ENGINES)
def test_ctrl_c_before_there_are_ranks_ends_the_job(engine: str, tmp_path: Path) -> None:
    text = launch(engine, 2, __file__, "interrupt", timeout=90, status=None, cwd=tmp_path)
    assert "Traceback" not in text and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("package", "environment"),
    [
        ("mpi4py", {"PMI_RANK": "0", "PMI_SIZE": "2"}),
        ("mpi4py", {"PMIX_RANK": "0"}),
        ("torch", {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "", "MASTER_PORT": ""}),
    ],
)
def test_a_launcher_without_its_engine(
    package: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=f"pip install {package}"):
        communicator()


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"PMI_RANK": "0", "PMI_SIZE": "1"},
        {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "1"},
        {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "", "MASTER_PORT": ""},
        {"RANK": "0", "WORLD_SIZE": "2"},  # of something else
    ],
)
def test_one_process(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert isinstance(communicator(), Single)


def test_nothing_is_imported_before_it_is_needed() -> None:
    check = "import sys, softstep.distributed; print({'mpi4py', 'torch'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", check], text=True) == "set()\n"


def test_another_mpi_than_the_launchers() -> None:
    pytest.importorskip("mpi4py")
    environment = {**os.environ, "OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "4"}
    check = "from softstep.distributed import communicator; communicator()"
    run = subprocess.run(
        [sys.executable, "-c", check], env=environment, capture_output=True, text=True, timeout=60
    )
    assert run.returncode != 0
    assert "the launcher started 4 processes, and MPI finds 1" in run.stderr


if __name__ == "__main__":
    interrupt() if sys.argv[1] == "interrupt" else fail(sys.argv[1])
