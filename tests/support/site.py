"""The documentation site that SOFTSTEP_SITE names: its pages, and what a page refers to."""

import os
from html.parser import HTMLParser
from pathlib import Path

import pytest


def folder() -> Path:
    """Return the folder of the built site; skips the module where there is none."""
    if "SOFTSTEP_SITE" not in os.environ:
        pytest.skip("SOFTSTEP_SITE names no built site: `nox -s site`", allow_module_level=True)
    return Path(os.environ["SOFTSTEP_SITE"]).resolve()


def pages(site: Path) -> list[Path]:
    return sorted(page for page in site.rglob("*.html") if "_static" not in page.parts)


class References(HTMLParser):
    """What a page refers to, what it loads, and what may be referred to in it."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links, self.loaded, self.anchors = list[str](), list[str](), {""}
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attributes if value is not None}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "link" and values.get("rel") in ("stylesheet", "preload", "icon"):
            self.loaded.append(values["href"])
        if tag in ("img", "script", "source", "iframe") and "src" in values:
            self.loaded.append(values["src"])
