"""Compile all C++ sources for systems that are not at hand, by Zig's Clang, up to its own code.

    pip install ziglang pybind11
    python tools/other_systems.py [--windows-bindings]

macOS on AArch64; Windows on x86-64; Linux with musl but for the kernels, which use nothing of a
system's. Python's headers are those of the system that this runs on, with which Windows cannot do:
its bindings take those of Python's source, 23 MB from Debian, and so are compiled only if asked
for. Warnings are those of the build, and errors.
"""

import argparse
import io
import os
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import free_threaded_python
import pybind11
import ziglang

ROOT = Path(__file__).resolve().parents[1]
ZIG = Path(ziglang.__file__).with_name("zig")
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
# No machine code: the compiler's front end is on trial, and its back end takes most of the time.
UNOPTIMISED = ["-O0", "-c", "-emit-llvm", "-Xclang", "-disable-llvm-passes"]
# As CMakeLists.txt has them.
KERNELS = ["-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-fno-exceptions"]
UNIT = 12
# Of the driver of the tests: what asks something of the system.
ROOMS = (
    "cpp/dispatch/*",
    "cpp/parallel/*",
    "cpp/ops/*",
    "tests/objects/driver/main",
    "tests/objects/driver/memory",
)


class System(NamedTuple):
    target: str
    levels: dict[str, list[str]]
    python: list[str]  # options of the bindings, if they are compiled


PYTHON = [f"-isystem{sysconfig.get_path('include')}"]
MACOS = System("aarch64-macos", {"aarch64": []}, PYTHON)
WINDOWS = System("x86_64-windows-gnu", {"x86_64_v4": ["-mcpu=x86_64_v4"]}, [])
MUSL = System("x86_64-linux-musl", {}, PYTHON)
# Instructions beyond a level: Windows has not been given any.
OF_SUB_LEVELS = {"product_bf16.cpp", "product_amx.cpp", "product_bfmmla.cpp"}


def windows_python(folder: Path) -> list[str]:
    """Unpack the headers of Python on Windows, and return the options that find them."""
    with tarfile.open(fileobj=io.BytesIO(free_threaded_python.source())) as archive:
        for member in archive:
            _, _, name = member.name.partition("/")
            if name.startswith("Include/") or name == "PC/pyconfig.h.in":
                member.name = name.removesuffix(".in")  # it holds nothing to be filled in
                archive.extract(member, folder, filter="data")
    return [f"-isystem{folder / 'Include'}", f"-isystem{folder / 'PC'}", "-DMS_WIN64"]


def commands(system: System) -> Iterator[tuple[Path, list[str | Path]]]:
    """Yield the options of each source."""
    has = [f"-DSOFTSTEP_HAS_{level}" for level in system.levels]
    for source in sorted((ROOT / "cpp" / "kernels").glob("*.cpp")):
        for level, machine in system.levels.items():
            if source.name not in OF_SUB_LEVELS:
                yield source, [*KERNELS, *machine, f"-DKERNEL_ISA={level}"]
    if "aarch64" in system.levels:
        machine = ["-mcpu=generic+bf16", "-DKERNEL_ISA=aarch64_bf16"]
        yield ROOT / "cpp" / "kernels" / "product_bfmmla.cpp", [*KERNELS, *machine]
    for source in (source for room in ROOMS for source in sorted(ROOT.glob(f"{room}.cpp"))):
        yield source, [*has, "-DSOFTSTEP_PARALLEL_POOL"]
    if system.python:
        headers = [*system.python, f"-isystem{pybind11.get_include()}"]
        sources = sorted(ROOT.glob("cpp/bindings/*.cpp")) + sorted(ROOT.glob("cpp/jax/*.cpp"))
        # Parsing pybind11 is most of it: some in one unit, as CMakeLists.txt has them.
        for first, *others in (sources[i : i + UNIT] for i in range(0, len(sources), UNIT)):
            yield (
                first,
                [*headers, *[option for source in others for option in ("-include", source)]],
            )


def failure(system: System, source: Path, options: list[str | Path]) -> str:
    """Return what the compiler says where it fails."""
    line = [ZIG, "c++", "-target", system.target, "-std=c++20", *UNOPTIMISED, *WARNINGS]
    line += [f"-I{ROOT / 'cpp'}", *options, source]
    with TemporaryDirectory() as objects:  # where Zig leaves the object
        done = subprocess.run(line, capture_output=True, text=True, cwd=objects)
    return f"{system.target} {source.relative_to(ROOT)}\n{done.stderr}" if done.returncode else ""


def main() -> int:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--windows-bindings", action="store_true")
    with TemporaryDirectory() as headers:
        windows = WINDOWS
        if arguments.parse_args().windows_bindings:
            windows = WINDOWS._replace(python=windows_python(Path(headers)))
        systems = MACOS, windows, MUSL
        every = [(system, *command) for system in systems for command in commands(system)]
        with ThreadPoolExecutor(os.cpu_count()) as workers:
            failures = [said for said in workers.map(lambda each: failure(*each), every) if said]
    for said in failures:
        print(said, file=sys.stderr)
    for system in systems:
        count = sum(each[0] is system for each in every)
        print(f"{system.target}: {count} units")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
