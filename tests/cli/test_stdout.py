"""Standard output in an encoding that lacks a name, and on a disk that is full."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.command_line import COMMAND, SMALL, write_csv

TEXTS = ["温度,class", *["1,é", "2,b"] * 5]


def softstep(*words: str, cwd: Path, encoding: str, status: int) -> tuple[str, str]:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    run = subprocess.run([*COMMAND, *words], cwd=cwd, env=environment, capture_output=True)
    stdout, stderr = run.stdout.decode(encoding), run.stderr.decode()
    assert run.returncode == status and "Traceback" not in stderr, stderr
    return stdout, stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    write_csv(folder / "t.csv", *TEXTS)
    words = ["--data", "t.csv", "--output", "run", *SMALL]
    stdout, _ = softstep("train", *words, cwd=folder, encoding="ascii", status=0)
    assert "2 classes: b, \\xe9\n" in stdout
    return folder


PREDICT = ["predict", "--weights", "run/weights.npz", "--data", "new.csv", "--no-probabilities"]


def test_names_that_the_encoding_lacks(trained: Path) -> None:
    write_csv(trained / "new.csv", "温度,n", "1,ü")
    stdout, stderr = softstep(*PREDICT, cwd=trained, encoding="ascii", status=2)
    assert stdout == "" and stderr == (
        "softstep predict: error: stdout: expected texts that are in its encoding, ascii, got "
        "'\\xe9': --output FILE.csv is written in UTF-8\n"
    )
    stdout, _ = softstep(*PREDICT, cwd=trained, encoding="latin-1", status=0)
    assert stdout.splitlines()[0] == "row,n,prediction" and stdout.splitlines()[1][:4] == "0,ü,"
    words = [*PREDICT, "--output", "é.csv"]
    stdout, _ = softstep(*words, cwd=trained, encoding="ascii", status=0)
    assert stdout == "written: \\xe9.csv (1 rows)\n"
    assert "0,ü," in (trained / "é.csv").read_text("utf-8")


def test_carried_columns_of_the_names_of_our_own(trained: Path) -> None:
    write_csv(trained / "new.csv", "温度,prediction,row", "1,x,y")
    stdout, _ = softstep(*PREDICT, cwd=trained, encoding="utf-8", status=0)
    assert stdout.startswith("row,prediction.1,row.1,prediction\n0,x,y,")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_stdout(unbuffered: str, trained: Path) -> None:
    write_csv(trained / "new.csv", "温度", "1")
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "w") as full:
        run = subprocess.run(
            [*COMMAND, *PREDICT], cwd=trained, env=environment, stdout=full, stderr=subprocess.PIPE
        )
    message = b"softstep predict: error: stdout: cannot be written: No space left on device\n"
    assert (run.returncode, run.stderr) == (1, message)
