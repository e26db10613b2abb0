"""What the linker left in the extension that helps against an attacker, or one less."""

import re
import shutil
import subprocess
import sys

import pytest

from softstep import _core

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="reads an ELF file"),
    pytest.mark.skipif(not shutil.which("readelf"), reason="binutils are not installed"),
]


def segments() -> dict[str, str]:
    """The flags of each program header, by its type; of several of a type those of all."""
    text = readelf("-lW")
    found: dict[str, str] = {}
    for kind, flags in re.findall(r"^  ([A-Z_]+) +(?:0x\w+ +){5}([RWE ]{3}) ", text, re.MULTILINE):
        found[kind] = found.get(kind, "") + ";" + flags.replace(" ", "")
    return found


def readelf(option: str) -> str:
    command = ["readelf", option, _core.__file__]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_nothing_is_both_writable_and_executable() -> None:
    flags = segments()
    assert "RE" in flags["LOAD"], "the headers were not understood"
    for kind, every in flags.items():
        for each in every.split(";"):
            assert not {"W", "E"} <= set(each), kind
    assert flags["GNU_STACK"] == ";RW", "the stack is executable"


def test_addresses_of_functions_are_read_only_once_loaded() -> None:
    """RELRO is whole if all names are bound at once."""
    assert segments().get("GNU_RELRO") == ";R"
    dynamic = readelf("-dW")
    assert re.search(r"\(FLAGS\) .*BIND_NOW|\(FLAGS_1\) .*NOW", dynamic)
    assert "TEXTREL" not in dynamic


def test_libraries_are_looked_for_where_the_system_has_them() -> None:
    """Or, in a wheel, beside the extension: never in a folder of the machine that built it."""
    paths = re.findall(r"\(R(?:UN)?PATH\) .*\[(.*)\]", readelf("-dW"))
    assert all(path.startswith("$ORIGIN") for each in paths for path in each.split(":"))


def test_functions_on_the_stack_of_the_c_library_are_few() -> None:
    """No copy or format without a length is called."""
    called = set(re.findall(r" UND (\w+)", readelf("--dyn-syms") + readelf("-sW")))
    assert "memcpy" in called or "memmove" in called, "the symbols were not understood"
    assert not called & {"gets", "strcpy", "strcat", "sprintf", "vsprintf", "system", "popen"}
