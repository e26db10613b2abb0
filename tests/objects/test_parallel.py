"""The C++ seam for threads by itself: parallel_driver.cpp with each backend."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.paths import ROOT

HERE = Path(__file__).parent
SOURCES = ROOT / "cpp" / "parallel"
COMPILER = shutil.which(os.environ.get("CXX", "c++"))
FLAGS = {
    "pool": ["-DSOFTSTEP_PARALLEL_POOL"],
    "pool, ThreadSanitizer": ["-DSOFTSTEP_PARALLEL_POOL", "-fsanitize=thread"],
    "pool, AddressSanitizer": ["-DSOFTSTEP_PARALLEL_POOL", "-fsanitize=address,undefined"],
    "openmp": ["-DSOFTSTEP_PARALLEL_OPENMP", "-fopenmp"],
    "serial": ["-DSOFTSTEP_PARALLEL_SERIAL"],
}


def compiles(flags: list[str], folder: Path) -> bool:
    """Whether the compiler and its libraries know the flags."""
    source = folder / "empty.cpp"
    source.write_text("int main() {}\n")
    assert COMPILER is not None
    command = [COMPILER, *flags, str(source), "-o", str(folder / "empty")]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler")
@pytest.mark.skipif(not SOURCES.is_dir(), reason="needs the source tree")
@pytest.mark.parametrize("build", FLAGS)
def test_driver(build: str, tmp_path: Path) -> None:
    assert COMPILER is not None
    if not compiles(FLAGS[build], tmp_path):
        pytest.skip(f"the compiler lacks {FLAGS[build][-1]}")
    program = tmp_path / "driver"
    sources = [HERE / "parallel_driver.cpp", *sorted(SOURCES.glob("*.cpp"))]
    flags = ["-std=c++20", "-O1", "-g", "-pthread", f"-I{SOURCES}", *FLAGS[build]]
    subprocess.run([COMPILER, *flags, *map(str, sources), "-o", str(program)], check=True)
    # ThreadSanitizer's shadow memory does not fit every randomised address space.
    fixed = [setarch, platform.machine(), "-R"] if (setarch := shutil.which("setarch")) else []
    # Another sanitizer that is loaded before Python is not for this program.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    done = subprocess.run(
        [*fixed, str(program)], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "every check held"
    assert "WARNING: ThreadSanitizer" not in done.stderr
