"""What a package index shows of softstep: the metadata as the build makes it."""

import re
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

import softstep as ss
from tests.support.paths import ROOT


@pytest.fixture
def metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Message:
    build = pytest.importorskip("scikit_build_core.build")
    pytest.importorskip("hatch_fancy_pypi_readme")
    monkeypatch.chdir(ROOT)
    folder = tmp_path / build.prepare_metadata_for_build_wheel(str(tmp_path))
    return Parser().parsestr((folder / "METADATA").read_text("utf-8"))


def test_every_link_of_the_page_is_absolute(metadata: Message) -> None:
    page = str(metadata.get_payload())
    links = re.findall(r"\]\(([^)]*)\)", page)
    assert not [link for link in links if not link.startswith(("https://", "#"))]
    assert "docs/lecture.md goes" in page
    assert "$" not in re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)


def test_the_classifiers_are_known(metadata: Message) -> None:
    known = pytest.importorskip("trove_classifiers").classifiers
    named = metadata.get_all("Classifier") or []
    assert named and not set(named) - known
    pythons = {float(name.rsplit(" ", 1)[1][2:]) for name in named if " :: 3." in name}
    oldest = re.fullmatch(r">=3\.(\d+)", str(metadata["Requires-Python"]))
    assert oldest and pythons == set(range(int(oldest[1]), int(max(pythons)) + 1))


def test_who_and_what(metadata: Message) -> None:
    assert metadata["Version"] == ss.__version__
    assert metadata["Author"] and metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Description-Content-Type"].startswith("text/markdown")
