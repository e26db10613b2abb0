"""What the compiler left in the per-ISA object files and in the extension.

A weak symbol of a file compiled for AVX-512 may be the copy that the linker keeps for the whole
library, which then dies of SIGILL on an older CPU: the ISA objects must not have any.
"""

import os
import platform
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from softstep import _core
from tests.objects.object_code import Loop, disassembly, innermost_loops, machine, tool

LEVELS = ["x86_64_v2", "x86_64_v3", "x86_64_v4", "aarch64"]
SUB_LEVELS = ["x86_64_v4_bf16", "x86_64_v4_amx", "aarch64_bf16"]  # products of bfloat16 alone
LIBM = r"(exp|exp2|expm1|log|log2|log1p|pow|fma|fmax|fmin|floor|ceil|rint|round|sqrt|ldexp)f?"
# Folders of builds; that of AArch64 beside this machine's.
BUILD = [Path(p) for p in os.environ.get("SOFTSTEP_BUILD_DIR", "").split(os.pathsep) if p]
WIDTHS = {"x86_64_v2": "x", "x86_64_v3": "y", "x86_64_v4": "z", "aarch64": "v"}

pytestmark = [
    pytest.mark.skipif(
        not BUILD, reason="needs the object files of a build: `nox -s tests` makes one"
    ),
    pytest.mark.skipif(
        not (shutil.which("nm") and shutil.which("objdump")), reason="binutils are not installed"
    ),
]


@cache
def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def every_object() -> list[Path]:
    return sorted(path for folder in BUILD for path in folder.rglob("*.o"))


def objects(level: str) -> list[Path]:
    return [p for p in every_object() if f"kernels_{level}." in p.parent.as_posix()]


def built(levels: list[str] = LEVELS) -> list[str]:
    return [level for level in levels if BUILD and objects(level)]


def symbols(path: Path, *options: str) -> list[tuple[str, str]]:
    """(type letter, name), undefined ones included."""
    lines = run(tool("nm", path) or "nm", *options, str(path)).splitlines()
    return [(line.split()[-2], line.split()[-1]) for line in lines if len(line.split()) >= 2]


def registers(path: Path) -> set[str]:
    return set(re.findall(r"%([xyz])mm\d", disassembly(path)))


def test_there_is_an_object_of_every_kernel_for_every_level() -> None:
    assert built(), f"no kernels_<isa> objects under {BUILD}"
    names = {level: [p.name for p in objects(level)] for level in built()}
    assert len(set(map(tuple, names.values()))) == 1
    host = LEVELS[:3] if platform.machine() == "x86_64" else LEVELS[3:]
    assert set(host) <= set(built()), "a level of this machine is missing"


@pytest.mark.parametrize("level", built(LEVELS + SUB_LEVELS))
def test_no_weak_symbol_and_every_global_one_names_the_level(level: str) -> None:
    for path in objects(level):
        for letter, name in symbols(path):
            assert letter not in "WwVv", f"{path.name}: weak symbol {name}"
            if letter.isupper() and letter != "U":
                assert level in name, f"{path.name}: global symbol {name} does not name {level}"


@pytest.mark.parametrize("level", built(LEVELS + SUB_LEVELS))
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
    widest = WIDTHS[level]
    for name, letters in used.items():
        assert all(letter <= widest for letter in letters), f"{name} uses {sorted(letters)}"
    assert any(widest in letters for letters in used.values())


HOT = ["softmax_rows.cpp.o", "cross_entropy_rows.cpp.o"]
ELEMENTS = ("float", "double", "Float16", "BFloat16")
# Vector registers that a loop of four exponentials may put on the stack and take again, by what it
# computes: 16 of them do not hold all constants beside the sums, and NEON's multiply-add overwrites
# its addend, so that each step of the polynomial needs a copy of a coefficient.
SPILLED = {
    "x86_64_v3": {"float": 2, "double": 2},
    "x86_64_v4": {"float": 0, "double": 0},
    "aarch64": {"float": 1, "double": 5},
}


def exponential_loops(level: str, file: str) -> list[Loop]:
    """The streaming loops with a polynomial, but for those of the softcap."""
    (path,) = (p for p in objects(level) if p.name == file)
    loops = [loop for loop in innermost_loops(path) if loop.streams and loop.multiply_adds >= 8]
    return [loop for loop in loops if "CappedShift" not in loop.function]


@pytest.mark.parametrize("level", [level for level in built() if level != "x86_64_v2"])
@pytest.mark.parametrize("file", HOT)
def test_hot_loops_use_whole_registers(level: str, file: str) -> None:
    """x86_64_v2 has no FMA by which to know these loops."""
    loops = exponential_loops(level, file)
    for of in ELEMENTS:
        assert any(re.search(rf"[<:]{of},", loop.function) for loop in loops), of
    for loop in loops:
        assert loop.widths == {WIDTHS[level]}, loop.function
        assert not loop.calls, loop.function
        float32 = file.startswith("cross_entropy") and "<float, " in loop.function
        most = 0 if float32 else SPILLED[level]["double" if "double" in loop.function else "float"]
        assert len(loop.spilled) <= most, f"{loop.function}: {loop.spilled}"


# Of a loop over four vectors, with all that a family does to them: the longest that GCC 12 made.
INSTRUCTIONS = {
    "x86_64_v3": {"float": 90, "double": 116, "Float16": 89, "BFloat16": 93},
    "x86_64_v4": {"float": 88, "double": 104, "Float16": 86, "BFloat16": 90},
    "aarch64": {"float": 110, "double": 182, "Float16": 211, "BFloat16": 154},
}
MORE_INSTRUCTIONS = 1.05  # of other compilers


@pytest.mark.parametrize("level", [level for level in built() if level != "x86_64_v2"])
@pytest.mark.parametrize("file", HOT)
def test_hot_loops_have_no_more_instructions(level: str, file: str) -> None:
    """What makes a loop longer is seen here, where no noise hides it."""
    for loop in exponential_loops(level, file):
        # The arithmetic of half precision is called float too.
        most = next(INSTRUCTIONS[level][of] for of in reversed(ELEMENTS) if of in loop.function)
        assert len(loop.instructions) <= MORE_INSTRUCTIONS * most, loop.function


# Multiply-adds of a step of the depth: rows times vectors of the tile.
TILES = {"x86_64_v3": 12, "x86_64_v4": 24, "x86_64_v4_bf16": 24, "aarch64": 16, "aarch64_bf16": 16}


@pytest.mark.parametrize("level", built(list(TILES)))
def test_the_tile_of_a_product_stays_in_registers(level: str) -> None:
    (path,) = (p for p in objects(level) if p.name.startswith("product"))
    loops = [loop for loop in innermost_loops(path) if loop.multiply_adds == TILES[level]]
    # Of float32 and float64: of panels, and of operands as they lie.
    assert len(loops) == (1 if level in SUB_LEVELS else 4)
    for loop in loops:
        assert loop.widths == {WIDTHS[level.removesuffix("_bf16")]}, loop.function
        assert not loop.on_stack and not loop.calls, loop.function


@pytest.mark.parametrize("level", built())
@pytest.mark.parametrize("file", ["softmax_lanes.cpp.o", "cross_entropy_lanes.cpp.o"])
def test_planes_are_fetched_ahead(level: str, file: str) -> None:
    """A compiler may drop what only fetches."""
    (path,) = (p for p in objects(level) if p.name == file)
    assert len(re.findall(r"\b(?:prefetch|prfm)", disassembly(path))) >= 4


def test_spills_and_calls_are_seen(tmp_path: Path) -> None:
    """The test above must be able to fail."""
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None or platform.machine() != "x86_64":
        pytest.skip("needs a compiler for x86-64")
    source = tmp_path / "spill.cpp"
    source.write_text("""
        typedef float V __attribute__((vector_size(32)));
        extern "C" float expf(float);
        void spills(V* y, const V* x, long n) {
          V s[20] = {};
          for (long i = 0; i < n; ++i)
            #pragma GCC unroll 20
            for (int k = 0; k < 20; ++k) s[k] += x[k] * x[i];
          #pragma GCC unroll 20
          for (int k = 0; k < 20; ++k) y[k] = s[k];
        }
        void calls(float* y, long n) { for (long i = 0; i < n; ++i) y[i] = expf(y[i]); }
    """)
    target = tmp_path / "spill.o"
    flags = ["-O2", "-march=x86-64-v3", "-ffp-contract=fast", "-c"]
    subprocess.run([compiler, *flags, str(source), "-o", str(target)], check=True)
    loops = list(innermost_loops(target))
    spilling = [loop for loop in loops if "spills" in loop.function and loop.multiply_adds == 20]
    assert spilling and spilling[0].spilled and spilling[0].widths == {"y"}
    assert any(loop.calls for loop in loops if "calls" in loop.function)


def test_code_outside_the_kernels_is_baseline() -> None:
    """Dispatch, bindings and threads run before, or without, the check of the CPU."""
    kernels = {path for level in built(LEVELS + SUB_LEVELS) for path in objects(level)}
    others = [p for p in every_object() if p not in kernels and machine(p) == "x86_64"]
    assert others or platform.machine() != "x86_64"
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
