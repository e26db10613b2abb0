"""The order of the house: who may import and include whom, how long a file may be, what heads it.

The sources are read, nothing of them is run.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.paths import ROOT

PACKAGE = ROOT / "python" / "softstep"
CPP = ROOT / "cpp"

# Each may import from those below, and from its own room. The face is what a program imports.
STOREYS = (
    {"__main__"},
    {"cli"},
    {"bench"},
    {"sklearn"},
    {"training"},
    {"transformers"},
    {"torch", "jax", "distributed"},
    {"the face"},
    {"schedules"},
    {"head"},
    {"losses", "optim"},
    {"_foreign", "_runtime", "_threadpoolctl"},
    {"_integers", "_typing", "_version"},
    {"_core"},
)
# The same of the folders of C++. `bindings` and `jax` are two ways in, `_core` registers both.
INCLUDES = {
    "bindings": {"jax", "ops", "parallel", "dispatch", "kernels"},
    "jax": {"ops", "parallel", "dispatch", "kernels"},
    "ops": {"parallel", "dispatch", "kernels"},
    "parallel": set(),
    "dispatch": {"kernels"},
    "kernels": set(),
}
MOST_LINES = 300
# Files that another header heads: one function for each family, declared and described there.
HEADED_BY = {"tests/objects/driver": "runners.hpp"}

Module = tuple[str, ...]


class Import(NamedTuple):
    path: Path
    line: int
    module: Module
    names: tuple[str, ...]  # of `from module import names`

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}: {'.'.join(self.module)}"


def module_of(path: Path, root: Path) -> Module:
    parts = path.relative_to(root).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def imports(path: Path, root: Path) -> Iterator[Import]:
    """Of a file, wherever they stand in it; relative ones as what they mean."""
    own = module_of(path, root)
    package = own if path.name == "__init__.py" else own[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(path, node.lineno, tuple(alias.name.split(".")), ())
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            module = (*start, *(node.module.split(".") if node.module else ()))
            yield Import(path, node.lineno, module, tuple(alias.name for alias in node.names))


def targets(found: Import, modules: set[Module]) -> Iterator[Module]:
    """What is imported: of `from package import module` the module."""
    for name in found.names or ("",):
        inner = (*found.module, name)
        yield inner if inner in modules else found.module


def room(module: Module) -> str:
    return module[1] if len(module) > 1 else "the face"


SOURCES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MODULES = {module_of(path, PACKAGE.parent) for path in SOURCES} | {("softstep", "_core")}


def storey(of: str) -> int:
    (found,) = (number for number, rooms in enumerate(STOREYS) if of in rooms)
    return found


def against_the_order(found: Import) -> bool:
    own = room(module_of(found.path, PACKAGE.parent))
    others = {room(m) for m in targets(found, MODULES) if m[0] == "softstep"} - {own}
    return any(storey(other) <= storey(own) for other in others)


def test_every_room_has_its_storey() -> None:
    assert {room(m) for m in MODULES} == set.union(*STOREYS)


def test_imports_point_one_way() -> None:
    found = [i for path in SOURCES for i in imports(path, PACKAGE.parent)]
    assert len(found) > 500, "the imports were not found"
    assert [str(i) for i in found if against_the_order(i)] == []


def test_an_import_of_the_command_line_is_seen(tmp_path: Path) -> None:
    """The reader itself: each way of writing it."""
    for line in (
        "from softstep.cli import main",
        "from softstep import cli",
        "from ..cli.train import run",
        "from .. import cli",
        "import softstep.cli.train",
        "def f():\n    from softstep.cli import main",
    ):
        path = PACKAGE / "losses" / "imagined.py"
        code = tmp_path / "python" / "softstep" / "losses" / "imagined.py"
        code.parent.mkdir(parents=True, exist_ok=True)
        code.write_text(line)
        (one,) = imports(code, tmp_path / "python")
        assert against_the_order(one._replace(path=path)), line


def test_the_extension_is_imported_by_name() -> None:
    """Not as an attribute of a package that is being imported itself."""
    face = PACKAGE / "__init__.py"
    wrong = [
        str(i)
        for path in SOURCES
        if path != face
        for i in imports(path, PACKAGE.parent)
        if i.module == ("softstep",) and "_core" in i.names
    ]
    assert wrong == []


def test_helpers_import_no_test() -> None:
    """Nor does a test."""
    found = [i for path in TESTS for i in imports(path, ROOT) if i.module[:1] == ("tests",)]
    assert len(found) > 50, "the imports were not found"
    files = {module_of(path, ROOT) for path in TESTS}
    wrong = [i for i in found if any(m[-1].startswith("test_") for m in targets(i, files))]
    assert list(map(str, wrong)) == []


def test_the_tests_have_the_rooms_of_the_package() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert rooms <= {path.name for path in (ROOT / "tests").iterdir()}


def cpp_files() -> list[Path]:
    return sorted(path for path in CPP.rglob("*.[ch]pp"))


def included(path: Path) -> Iterator[str]:
    for file in re.findall(r'#\s*include "([^"]+)"', path.read_text()):
        yield file.split("/")[0] if "/" in file else path.parent.name


def test_includes_point_one_way() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {folder}"
        for path in cpp_files()
        for folder in included(path)
        if folder not in INCLUDES[path.parent.name] | {path.parent.name}
    ]
    assert wrong == []


def test_the_order_of_folders_has_no_circle() -> None:
    order = list(INCLUDES)
    assert all(order.index(a) < order.index(b) for a, below in INCLUDES.items() for b in below)


def test_the_map_of_cpp_has_each_file() -> None:
    """Of the folders that it goes through; a header stands for its source."""
    text = (CPP / "README.md").read_text()
    folders = [p for name in ("bindings", "jax", "dispatch") for p in (CPP / name).glob("*.[ch]pp")]
    named = set(re.findall(r"`(\w+)\.[ch]pp`", text))
    assert [str(p.relative_to(CPP)) for p in sorted(folders) if p.stem not in named] == []


def test_cpp_imports_no_python_of_ours() -> None:
    for path in cpp_files():
        imported = re.findall(r'(?:import|ImportModule\w*)\("([^"]+)"', path.read_text())
        assert set(imported) <= {"numpy", "sys"}, path


def code_files() -> list[Path]:
    folders = ("python", "cpp", "tests", "tools", "benchmarks", "docs", "examples")
    found = [p for folder in folders for p in sorted((ROOT / folder).rglob("*.*"))]
    return [p for p in found if p.suffix in {".py", ".pyi", ".cpp", ".hpp"}]


def test_no_file_is_long() -> None:
    lengths = {p: len(p.read_text().splitlines()) for p in code_files()}
    assert [f"{p}: {n}" for p, n in lengths.items() if n > MOST_LINES] == []


def has_head(path: Path) -> bool:
    """Whether it begins with what it is for, or with the header that says it."""
    text = path.read_text()
    if path.suffix in {".py", ".pyi"}:
        return not text or ast.get_docstring(ast.parse(text)) is not None
    if text.startswith("//"):
        return True
    header = re.search(r'#include "(?:[^"]*/)?([^"/]+)"', text)
    folder = path.relative_to(ROOT).parent.as_posix()
    return header is not None and header[1] in (f"{path.stem}.hpp", HEADED_BY.get(folder))


@pytest.mark.parametrize("suffix", [".py", ".pyi", ".cpp", ".hpp"])
def test_files_say_what_they_are_for(suffix: str) -> None:
    wrong = [str(p.relative_to(ROOT)) for p in code_files() if p.suffix == suffix]
    assert [name for name in wrong if not has_head(ROOT / name)] == []


def test_the_hooks_have_the_versions_of_ci() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    lint = re.search(r"^lint = \[(.*)\]$", (ROOT / "pyproject.toml").read_text(), re.M)
    assert lint
    tools = re.findall(r'"([\w-]+==[\d.]+)"', lint[1])
    assert len(tools) == 2 and set(re.findall(r"\[([\w-]+==[\d.]+)\]", hooks)) == set(tools)
