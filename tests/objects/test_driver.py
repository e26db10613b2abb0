"""The driver over the kernel tables, on every ISA level, natively and under emulation.

A build with SOFTSTEP_DRIVER=ON, as `nox -s tests` makes it, puts it into one of the folders of
SOFTSTEP_BUILD_DIR. That of another processor runs under QEMU: `.ci/run` builds one for AArch64.
"""

import os
import platform
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import softstep as ss

ml_dtypes = pytest.importorskip("ml_dtypes")

from tests.objects.driver_case import Case  # noqa: E402
from tests.objects.write_driver_cases import every_case, write  # noqa: E402

FOLDERS = [Path(p) for p in os.environ.get("SOFTSTEP_BUILD_DIR", "").split(os.pathsep) if p]
DRIVERS = [path for folder in FOLDERS for path in sorted(folder.rglob("softstep_driver"))]
MACHINES = {62: "x86_64", 183: "aarch64"}  # the numbers of ELF
FAMILIES = {"softmax", "softmax_backward", "cross_entropy", "hinge", "squared_error"}
FAMILIES |= {"binary_hinge", "sgd", "adamw", "norm", "half", "panel", "product", "transpose"}
FAMILIES |= {"stream", "math"}

pytestmark = pytest.mark.skipif(
    not DRIVERS, reason="needs a build with the driver over the kernels: `nox -s tests` makes one"
)


def command(driver: Path) -> list[str]:
    machine = MACHINES[int.from_bytes(driver.read_bytes()[18:20], "little")]
    if machine == platform.machine():
        return [str(driver)]
    emulator = shutil.which(f"qemu-{machine}-static") or shutil.which(f"qemu-{machine}")
    if emulator is None:
        pytest.skip(f"needs qemu-{machine}-static")
    return [emulator, "-L", f"/usr/{machine}-linux-gnu", str(driver)]


def run(driver: Path, cases: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command(driver), str(cases)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return list(every_case())


@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_every_family_of_every_level(driver: Path, cases: list[Case], tmp_path: Path) -> None:
    write(tmp_path / "cases.bin", cases)
    done = run(driver, tmp_path / "cases.bin")
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert {family for _, family, *_ in lines} == FAMILIES == {case.family for case in cases}
    levels = {level for level, *_ in lines}
    assert len(lines) == len(levels) * len({(case.family, case.dtype) for case in cases})
    if command(driver) == [str(driver)]:
        objects = " ".join(str(path) for path in driver.parents[3].rglob("*.o"))
        assert levels == {isa for isa in ss.available_isas() if f"kernels_{isa}." in objects}


@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_one_wrong_number_of_each_result_is_found(
    driver: Path, cases: list[Case], tmp_path: Path
) -> None:
    by_result = {(case.family, name): case for case in reversed(cases) for name in case.expected}
    for (family, name), case in by_result.items():
        values, bounds = case.expected[name]
        wrong = np.array(values, np.float64)
        place = np.flatnonzero(np.isfinite(wrong))[-1]
        wrong.flat[place] += 1 + 0.01 * abs(wrong.flat[place])
        changed = replace(case, expected={**case.expected, name: (wrong, bounds)})
        write(tmp_path / "wrong.bin", [changed])
        done = run(driver, tmp_path / "wrong.bin")
        assert done.returncode == 1, f"{family} {name}: {done.stdout}"
        assert f", {family} {case.dtype.name}, {case.title}" in done.stderr
        row, column = np.unravel_index(place, np.atleast_2d(wrong).shape)
        assert f"{name}[{row}, {column}]: got " in done.stderr


@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_files_that_are_none(driver: Path, cases: list[Case], tmp_path: Path) -> None:
    broken = tmp_path / "broken.bin"
    write(broken, cases[:1])
    whole = broken.read_bytes()
    for text in (b"", whole[10:], whole[:-100], whole.replace(b"softmax", b"sofmtax", 1)):
        broken.write_bytes(text)
        done = run(driver, broken)
        assert done.returncode == 2 and done.stderr.startswith("softstep_driver: ")
