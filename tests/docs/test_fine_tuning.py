"""The program that draws the picture of docs/fine_tuning.md, at a small size."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT, importing_tests

PROGRAM = ROOT / "benchmarks" / "studies" / "fine_tuning_memory.py"


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_the_picture_of_the_memory(tmp_path: Path) -> None:
    for needed in ("transformers", "matplotlib"):
        pytest.importorskip(needed)
    picture = tmp_path / "memory.png"
    run = subprocess.run(
        [sys.executable, PROGRAM, picture, "--vocabulary", "20000", "--features", "64"],
        env={**importing_tests(), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert run.returncode == 0, run.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    logits = float(re.findall(r"logits: ([\d.]+) GiB", run.stdout)[0])
    plain, patched = (float(peak) for peak in re.findall(r"peak ([\d.]+) GiB", run.stdout))
    assert plain - patched > logits
    first, second = re.findall(r"losses \[([\d.]+), ([\d.]+)\]", run.stdout)
    assert [float(x) for x in first] == pytest.approx([float(x) for x in second], rel=1e-5)
