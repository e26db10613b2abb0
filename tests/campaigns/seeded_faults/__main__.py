"""Put small faults into the C++, one at a time; say which of them the tests do not find.

    python -m tests.campaigns.seeded_faults --faults 200

The sources are copied; the copy is compiled for the best level of the CPU alone, once as it is and
once with each fault, and tested by the rooms that need NumPy alone. A fault that lives changes
nothing but the speed, or a test is missing: a reader has to say which.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import softstep as ss
from tests.campaigns.seeded_faults.faults import Fault, all_faults, drawn
from tests.support.paths import ROOT

# In the order of what they tell in a second.
ROOMS = ("losses", "optim", "head", "runtime", "training")
ALONE = ("distributed/test_cross_entropy.py", "objects/test_driver.py")
# The rooms that find a file's faults soonest; others are found by the words of their names.
SOONEST = {
    "optim": ("adamw", "elements", "norm", "optimizer", "sgd", "update", "walk"),
    "head": ("filter", "panel", "product"),
    "runtime": ("arrays", "numbers", "parallel", "pool", "result", "thread", "dispatch", "runtime"),
}
# It wants every level of the CPU.
LEFT_OUT = "tests/runtime/test_dispatch.py::test_levels_are_in_order_and_belong_to_this_machine"
# Words of names that say nothing about the subject.
GENERAL = {"test", "rows", "row", "lanes", "lane", "groups", "group", "call", "parts", "types"}
# Tests that are collected alone, before all others: most faults need no more.
FIRST = 8
# Those that most faults are found by.
TELLING = {
    f"tests/{name}.py"
    for name in (
        "losses/test_layouts", "losses/test_cross_entropy_options", "losses/test_special_values",
        "losses/test_softmax", "optim/test_options", "head/test_products",
        "head/test_linear_cross_entropy", "runtime/test_wrong_arguments",
    )
}  # fmt: skip
# Of one test, in seconds: a fault may wait for ever.
MOST_SECONDS = 120


class Tree:
    """A copy of the sources and their build, which can be as it was at once."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._kept = folder / "tree", folder / "kept"
        self.folder.mkdir()
        spared = shutil.ignore_patterns("*.so", "__pycache__")
        for name in ("cpp", "python", "tests", "tools", "docs"):
            shutil.copytree(ROOT / name, self.folder / name, ignore=spared)
        for name in ("CMakeLists.txt", "pyproject.toml"):
            shutil.copy2(ROOT / name, self.folder)
        pybind11 = _output("-m", "pybind11", "--cmakedir")
        level = next(name for name in reversed(ss.available_isas()) if name.count("_") < 3)
        settings = [f"SOFTSTEP_ISAS={level}", "SOFTSTEP_DRIVER=ON", f"pybind11_DIR={pybind11}"]
        # But for the kernels nothing is optimized: what a fault costs is to compile it.
        settings += [f"Python_EXECUTABLE={sys.executable}", "CMAKE_BUILD_TYPE=None"]
        words = ["cmake", "-G", "Ninja", "-S", ".", "-B", "build", *[f"-D{s}" for s in settings]]
        subprocess.run(words, cwd=self.folder, check=True, stdout=subprocess.DEVNULL)
        if not self.build():
            raise SystemExit("the sources cannot be compiled without any fault")
        shutil.copytree(self.folder, self._kept)

    def build(self) -> bool:
        """Compile what has changed; False: it cannot be compiled."""
        words = ["cmake", "--build", "build"]
        if subprocess.run(words, cwd=self.folder, capture_output=True).returncode:
            return False
        (extension,) = (self.folder / "build").glob("_core*.so")
        shutil.copy2(extension, self.folder / "python" / "softstep")
        return True

    def restore(self) -> None:
        """Make sources and objects what they were before the fault."""
        shutil.rmtree(self.folder)
        shutil.copytree(self._kept, self.folder)

    def put(self, fault: Fault) -> None:
        path = self.folder / fault.path
        lines = path.read_text().splitlines()
        lines[fault.line - 1] = fault.after
        path.write_text("\n".join(lines) + "\n")

    def found_by(self, tests: list[str]) -> str:
        """Return the first test that fails, or nothing."""
        return self._failing(tests[:FIRST], 0) or self._failing(tests[FIRST:], 2)

    def _failing(self, tests: list[str], workers: int) -> str:
        words = [sys.executable, "-m", "pytest", "-x", "-q", "-n", str(workers), "--tb=no", "-rfE"]
        words += ["-p", "no:cacheprovider", f"--deselect={LEFT_OUT}", f"--timeout={MOST_SECONDS}"]
        build = str(self.folder / "build")
        environment = {
            **os.environ, "SOFTSTEP_BUILD_DIR": build, "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(self.folder / "python"),
        }  # fmt: skip
        # A size that is wrong may ask for all the memory: then let it be these that are ended.
        adjust = 'echo 1000 > /proc/self/oom_score_adj; exec "$@"'
        ended = subprocess.run(
            ["sh", "-c", adjust, "sh", *words, *tests],
            cwd=self.folder, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        if not ended.returncode:
            return ""
        first = re.search(r"^(?:FAILED|ERROR) (\S+)", ended.stdout, re.MULTILINE)
        return first[1] if first else f"status {ended.returncode}"


def _output(*words: str) -> str:
    ended = subprocess.run([sys.executable, *words], check=True, capture_output=True, text=True)
    return ended.stdout.strip()


def all_tests() -> list[str]:
    """Return the files of the tests, which are all that tell."""
    found: list[str] = []
    for room in ROOMS:
        files = sorted((ROOT / "tests" / room).glob("test_*.py"))
        found += [file.relative_to(ROOT).as_posix() for file in files]
    return found + [f"tests/{name}" for name in ALONE]


def ordered(fault: Fault, tests: list[str], finds: Counter[str]) -> list[str]:
    """Return the tests, first those that are about the file, then those that found most."""
    words = set(Path(fault.path).stem.split("_")) - GENERAL
    rooms = {room for room, stems in SOONEST.items() if words & set(stems)}

    def rank(test: str) -> tuple[bool, bool, int, bool]:
        about = words & set(Path(test).stem.split("_"))
        return Path(test).parent.name not in rooms, not about, -finds[test], test not in TELLING

    return sorted(tests, key=rank)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", type=int, default=200, help="those that can be compiled")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="leave out as many of those drawn")
    parser.add_argument("--only", type=int, help="one of those drawn")
    arguments = parser.parse_args()
    started, tried, finds, lived = time.monotonic(), 0, Counter[str](), 0
    with tempfile.TemporaryDirectory(prefix="softstep-faults-") as name:
        tree, tests = Tree(Path(name)), all_tests()
        if failed := tree.found_by(tests):
            raise SystemExit(f"{failed} fails without any fault")
        print(f"built and tested without a fault in {time.monotonic() - started:.0f} s", flush=True)
        tree.restore()
        for index, fault in enumerate(drawn(all_faults(ROOT / "cpp"), arguments.seed)):
            wanted = index >= arguments.first if arguments.only is None else index == arguments.only
            if not wanted:
                continue
            tree.put(fault)
            if tree.build():
                tried += 1
                test = tree.found_by(ordered(fault, tests, finds))
                finds[test.partition("::")[0]] += 1
                lived += not test
                print(f"{index}: {test or 'NOT FOUND'}: {fault}", flush=True)
            tree.restore()
            if tried == arguments.faults or index == arguments.only:
                break
    seconds = time.monotonic() - started
    print(f"{tried} faults, {tried - lived} found, {lived} not, {seconds:.0f} s")
    return 1 if lived else 0


if __name__ == "__main__":
    sys.exit(main())
