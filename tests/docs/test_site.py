"""The built site, read as files: every link leads somewhere, every public name has a page."""

from functools import cache
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse

import pytest

from tests.support import site
from tests.support.modules import front_ends

SITE = site.folder()
PAGES = site.pages(SITE)
references = cache(site.References)


def name_of(page: Path) -> str:
    return str(page.relative_to(SITE))


def broken(page: Path, reference: str) -> bool:
    path, fragment = urldefrag(reference)
    target = (page.parent / unquote(urlparse(path).path)).resolve() if path else page
    if not target.is_file():
        return True
    return target.suffix == ".html" and unquote(fragment) not in references(target).anchors


def test_there_are_pages() -> None:
    assert SITE / "index.html" in PAGES
    assert len(PAGES) > 100


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links(page: Path) -> None:
    found = references(page)
    own = [link for link in found.links if not urlparse(link).scheme]
    assert not [reference for reference in own + found.loaded if broken(page, reference)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_nothing_is_loaded_from_a_network(page: Path) -> None:
    assert not [url for url in references(page).loaded if urlparse(url).scheme or "//" in url]


@pytest.mark.parametrize("module", front_ends(), ids=lambda module: module.__name__)
def test_every_public_name_has_a_page(module: object) -> None:
    anchors = set().union(
        *[references(page).anchors for page in PAGES if "generated" in page.parts]
    )
    names = {f"{module.__name__}.{name}" for name in module.__all__}
    without = {"softstep.schedules", "softstep.__version__"}  # a module, a string
    assert not names - anchors - without


def test_types_are_as_they_are_written() -> None:
    """No NumPy type with a long name where the source says ArrayLike."""
    texts = {page: page.read_text("utf-8") for page in PAGES if "generated" in page.parts}
    softmax = texts[SITE / "api" / "generated" / "softstep.softmax.html"]
    assert "ArrayLike" in softmax and "FloatArray" in softmax
    assert not [name_of(page) for page, text in texts.items() if "_NestedSequence" in text]
