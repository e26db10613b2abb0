"""XLA's C interface as `cpp/jax/xla_abi.hpp` has it, against the headers that jaxlib ships."""

import shutil
import subprocess
from pathlib import Path

import pytest

ffi = pytest.importorskip("jax.ffi")

CPP = Path(__file__).parents[2] / "cpp"
COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")

# Ours: (theirs, {member: its name there}). A struct of theirs may have more at its end.
STRUCTS = {
    "Extension": ("Extension_Base", {"struct_size": "struct_size", "kind": "type", "next": "next"}),
    "Version": (
        "Api_Version",
        {
            "struct_size": "struct_size",
            "extensions": "extension_start",
            "major": "major_version",
            "minor": "minor_version",
        },
    ),
    "Metadata": (
        "Metadata",
        {"struct_size": "struct_size", "version": "api_version", "traits": "traits"},
    ),
    "MetadataExtension": (
        "Metadata_Extension",
        {"base": "extension_base", "metadata": "metadata"},
    ),
    "Buffer": (
        "Buffer",
        {
            "struct_size": "struct_size",
            "extensions": "extension_start",
            "type": "dtype",
            "data": "data",
            "dimensions": "rank",
            "shape": "dims",
        },
    ),
    "Span": ("ByteSpan", {"data": "ptr", "size": "len"}),
    "Scalar": ("Scalar", {"type": "dtype", "value": "value"}),
    "Attributes": (
        "Attrs",
        {
            "struct_size": "struct_size",
            "extensions": "extension_start",
            "size": "size",
            "kinds": "types",
            "names": "names",
            "values": "attrs",
        },
    ),
    "ErrorArguments": (
        "Error_Create_Args",
        {
            "struct_size": "struct_size",
            "extensions": "extension_start",
            "message": "message",
            "code": "errc",
        },
    ),
    "Api": (
        "Api",
        {
            "struct_size": "struct_size",
            "extensions": "extension_start",
            "version": "api_version",
            "internal": "internal_api",
            "create_error": "XLA_FFI_Error_Create",
        },
    ),
    "CallFrame": (
        "CallFrame",
        {
            "struct_size": "struct_size",
            "extensions": "extension_start",
            "api": "api",
            "context": "ctx",
            "stage": "stage",
            "arguments": "args",
            "results": "rets",
            "attributes": "attrs",
        },
    ),
}
OPERANDS = {"struct_size": "struct_size", "extensions": "extension_start"}
OPERANDS |= {"size": "size", "kinds": "types"}
NUMBERS = {
    "kMetadataExtension": "Extension_Metadata",
    "OperandKind::kBuffer": "ArgType_BUFFER",
    "AttributeKind::kScalar": "AttrType_SCALAR",
    "ErrorCode::kInvalidArgument": "Error_Code_INVALID_ARGUMENT",
    "ErrorCode::kResourceExhausted": "Error_Code_RESOURCE_EXHAUSTED",
    "ErrorCode::kInternal": "Error_Code_INTERNAL",
    "Type::kBool": "DataType_PRED",
    "Type::kFloat16": "DataType_F16",
    "Type::kFloat32": "DataType_F32",
    "Type::kFloat64": "DataType_F64",
    "Type::kBFloat16": "DataType_BF16",
}
NUMBERS |= {f"Type::kInt{bits}": f"DataType_S{bits}" for bits in (8, 16, 32, 64)}
NUMBERS |= {f"Type::kUInt{bits}": f"DataType_U{bits}" for bits in (8, 16, 32, 64)}


def _source(structs: dict[str, tuple[str, dict[str, str]]], numbers: dict[str, str]) -> str:
    lines = [
        "#include <cstddef>",
        '#include "jax/xla_abi.hpp"',
        '#include "xla/ffi/api/c_api.h"',
        "namespace x = softstep::jax::xla;",
        "#if XLA_FFI_API_MINOR >= 5  // the same struct with another name",
        "using XLA_FFI_Extension_Base = XLA_FFI_InternalExtension;",
        "#endif",
        "static_assert(x::kMajorVersion == XLA_FFI_API_MAJOR);",
        "static_assert(x::kMinorVersion <= XLA_FFI_API_MINOR);",
    ]
    for ours, (theirs, members) in structs.items():
        mine, other = f"x::{ours}", f"XLA_FFI_{theirs}"
        lines.append(f"static_assert(sizeof({mine}) <= sizeof({other}));")
        for a, b in members.items():
            lines.append(f"static_assert(offsetof({mine}, {a}) == offsetof({other}, {b}));")
            lines.append(f"static_assert(sizeof({mine}::{a}) == sizeof({other}::{b}));")
    lines += [f"static_assert(int(x::{o}) == int(XLA_FFI_{t}));" for o, t in numbers.items()]
    return "\n".join(lines)


def _compile(source: str, folder: Path) -> subprocess.CompletedProcess[str]:
    file = folder / "abi.cpp"
    file.write_text(source)
    # GCC takes members with the names of their types, which XLA has, with -fpermissive only.
    return subprocess.run(
        [
            *(str(COMPILER), "-std=c++20", "-fpermissive", "-w", "-fsyntax-only"),
            *(f"-I{CPP}", f"-I{ffi.include_dir()}", str(file)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler: install g++ or clang++")
def test_layouts_are_those_of_the_installed_jaxlib(tmp_path: Path) -> None:
    structs = dict(STRUCTS)
    for theirs, values in (("Args", "args"), ("Rets", "rets")):
        done = _compile(
            _source(structs | {"Operands": (theirs, OPERANDS | {"values": values})}, NUMBERS),
            tmp_path,
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler: install g++ or clang++")
@pytest.mark.parametrize(
    ("structs", "numbers"),
    [({"Buffer": ("Buffer", {"data": "rank"})}, {}), ({}, {"Type::kInt8": "DataType_S16"})],
)
def test_a_difference_is_found(
    structs: dict[str, tuple[str, dict[str, str]]], numbers: dict[str, str], tmp_path: Path
) -> None:
    done = _compile(_source(structs, numbers), tmp_path)
    assert done.returncode != 0
    assert "static assertion failed" in done.stderr or "static_assert failed" in done.stderr
