"""What the compiler left in the per-ISA object files and in the extension.

A weak symbol of a file compiled for AVX-512 may be the copy that the linker keeps for the whole
library, which then dies of SIGILL on an older CPU: the ISA objects must not have any.
"""

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from softstep import _core

LEVELS = ["x86_64_v2", "x86_64_v3", "x86_64_v4", "aarch64"]
LIBM = r"(exp|exp2|expm1|log|log2|log1p|pow|fma|fmax|fmin|floor|ceil|rint|round|sqrt|ldexp)f?"
BUILD = os.environ.get("SOFTSTEP_BUILD_DIR")

pytestmark = [
    pytest.mark.skipif(not BUILD, reason="SOFTSTEP_BUILD_DIR is not set: no object files to read"),
    pytest.mark.skipif(
        not (shutil.which("nm") and shutil.which("objdump")), reason="binutils are not installed"
    ),
]


@cache
def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def objects(level: str) -> list[Path]:
    return sorted(
        p for p in Path(str(BUILD)).rglob("*.o") if f"kernels_{level}" in p.parent.as_posix()
    )


def built() -> list[str]:
    return [level for level in LEVELS if BUILD and objects(level)]


def symbols(path: Path, *options: str) -> list[tuple[str, str]]:
    """(type letter, name), undefined ones included."""
    lines = run("nm", *options, str(path)).splitlines()
    return [(line.split()[-2], line.split()[-1]) for line in lines if len(line.split()) >= 2]


def registers(path: Path) -> set[str]:
    return set(re.findall(r"%([xyz])mm\d", run("objdump", "-d", "--no-show-raw-insn", str(path))))


def test_there_is_an_object_of_every_kernel_for_every_level() -> None:
    assert built(), f"no kernels_<isa> objects under {BUILD}"
    names = {level: [p.name for p in objects(level)] for level in built()}
    assert len(set(map(tuple, names.values()))) == 1
    assert "x86_64_v3" not in names or built() == LEVELS[:3]


@pytest.mark.parametrize("level", built())
def test_no_weak_symbol_and_every_global_one_names_the_level(level: str) -> None:
    for path in objects(level):
        for letter, name in symbols(path):
            assert letter not in "WwVv", f"{path.name}: weak symbol {name}"
            if letter.isupper() and letter != "U":
                assert level in name, f"{path.name}: global symbol {name} does not name {level}"


@pytest.mark.parametrize("level", built())
def test_kernels_call_nothing_outside(level: str) -> None:
    """No libm (not vectorised, not the same bits), no C++ runtime: memory functions only."""
    for path in objects(level):
        outside = {name for letter, name in symbols(path) if letter == "U" and level not in name}
        assert not {name for name in outside if re.fullmatch(LIBM, name)}
        allowed = {"memcpy", "memset", "memmove", "_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}
        assert outside <= allowed, f"{path.name}: {outside - allowed}"


@pytest.mark.parametrize("level", [level for level in built() if level != "aarch64"])
def test_only_the_registers_of_the_level_are_used(level: str) -> None:
    used = {path.name: registers(path) for path in objects(level)}
    widest = {"x86_64_v2": "x", "x86_64_v3": "y", "x86_64_v4": "z"}[level]
    for name, letters in used.items():
        assert all(letter <= widest for letter in letters), f"{name} uses {sorted(letters)}"
    assert any(widest in letters for letters in used.values())


def test_code_outside_the_kernels_is_baseline() -> None:
    """Dispatch, bindings and threads run before, or without, the check of the CPU."""
    kernels = {path for level in built() for path in objects(level)}
    others = [p for p in Path(str(BUILD)).rglob("*.o") if p not in kernels]
    assert others
    for path in others:
        assert registers(path) <= {"x"}, path.name


def test_the_extension_exports_its_init_function_and_little_else() -> None:
    exported = [name for _, name in symbols(Path(_core.__file__), "-D", "--defined-only")]
    assert "PyInit__core" in exported
    others = [name for name in exported if name != "PyInit__core"]
    assert all(name.startswith("softstep_") for name in others), others


def test_importing_does_not_set_the_floating_point_mode() -> None:
    """-ffast-math at link time adds a constructor that flushes denormals in the whole process.

    A stripped extension hides its name; the fixture that looks at denormals sees its effect.
    """
    path = Path(_core.__file__)
    assert "set_fast_math" not in run("nm", str(path)) + run("nm", "-D", str(path))
