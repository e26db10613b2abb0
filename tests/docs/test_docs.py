"""Every example runs: of the docstrings and of the pages. Every link and picture is there."""

import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import softstep as ss
from tests.support.paths import ROOT

PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
ALL_PAGES = [
    *PAGES,
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted(ROOT.glob("cpp/**/README.md")),
]
ALL_PAGES += [page for page in sorted(ROOT.glob("benchmarks/*.md"))]

CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ANY_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


# What is there only beside its framework.
FRONT_ENDS = ("torch", "transformers", "jax", "sklearn")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def modules() -> Iterator[Any]:
    yield ss
    for module in pkgutil.walk_packages(ss.__path__, "softstep.", onerror=lambda name: None):
        if module.name.endswith("__main__"):
            continue
        try:
            yield importlib.import_module(module.name)
        except ImportError:
            if module.name.split(".")[1] not in FRONT_ENDS:
                raise


def docstring_examples() -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    return [test for module in modules() for test in finder.find(module) if test.examples]


def run_example(example: doctest.DocTest) -> None:
    runner = doctest.DebugRunner(optionflags=doctest.ELLIPSIS)
    try:
        runner.run(example, clear_globs=False)
    except doctest.DocTestFailure as failure:
        line = (failure.test.lineno or 0) + failure.example.lineno + 1
        pytest.fail(
            f"{failure.test.filename}:{line}: {failure.example.source}"
            f"expected\n{failure.example.want}got\n{failure.got}",
            pytrace=False,
        )
    except doctest.UnexpectedException as failure:
        raise failure.exc_info[1] from None


@pytest.mark.parametrize("example", docstring_examples(), ids=lambda example: example.name)
def test_docstring(example: doctest.DocTest) -> None:
    run_example(example)


@pytest.mark.parametrize("name", [name for name in ss.__all__ if callable(getattr(ss, name))])
def test_every_public_name_has_an_example(name: str) -> None:
    assert ">>>" in (inspect.getdoc(getattr(ss, name)) or "")


# PEFT asks transformers by an old name.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_blocks_of_a_page(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """The blocks of a page are one session, as a reader would type it."""
    monkeypatch.chdir(tmp_path)
    text = page.read_text("utf-8")
    session: dict[str, Any] = {}
    for block in CODE.finditer(text):
        source, line = block[1], text[: block.start(1)].count("\n")
        for front_end in re.findall(r"import softstep\.(\w+)", source):
            pytest.importorskip(f"softstep.{front_end}", exc_type=ImportError)
            if front_end in ("torch", "transformers"):
                request.getfixturevalue("one_torch_thread")
        for other in re.findall(r"^(?:import|from) (\w+)|# needs (\w+)", source, re.MULTILINE):
            pytest.importorskip("".join(other))
        if ">>>" not in source:
            exec(compile("\n" * line + source, str(page), "exec"), session)
            continue
        example = doctest.DocTestParser().get_doctest(source, session, page.name, str(page), line)
        run_example(example)
        session = example.globs


@pytest.mark.parametrize("page", ALL_PAGES, ids=name_of)
def test_links_of_a_page(page: Path) -> None:
    for target in LINK.findall(ANY_BLOCK.sub("", page.read_text("utf-8"))):
        if not target.startswith(("http://", "https://", "#")):
            path = page.parent / target.split("#")[0]
            assert path.exists(), f"{name_of(page)} links to {target}"


def test_the_script_draws_the_pictures_that_the_pages_show(tmp_path: Path) -> None:
    script = ROOT / "docs" / "pictures.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, timeout=120)
    drawn = {path.name for path in tmp_path.iterdir()}
    # By programs of benchmarks/studies; the pages name the machines.
    measured = {"scaling.png", "classes.png", "fine_tuning_memory.png"}
    assert drawn | measured == {path.name for path in (ROOT / "docs" / "images").iterdir()}
    lecture = (ROOT / "docs" / "lecture.md").read_text("utf-8")
    assert drawn == set(re.findall(r"\(images/([\w.]+)\)", lecture))
