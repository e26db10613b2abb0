"""Links between files of the repository become links between pages of the site.

The pages that lie outside docs/ are included by pages of development/, one line each. A link to
such a file leads to its page; a link to any other file of the repository offers it for download.
"""

import os
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<=\]\()([^)#:\s]+)(?=[)#])")
INCLUDE = re.compile(r"^```\{include\} (\S+)", re.MULTILINE)


def pages() -> dict[Path, Path]:
    """Return which page of the site shows a file, for the files that are not pages themselves."""
    shown = {DOCS / "README.md": DOCS / "index.md"}
    for page in sorted(DOCS.glob("development/*.md")):
        for file in INCLUDE.findall(page.read_text("utf-8")):
            shown[(page.parent / file).resolve()] = page
    return shown


def rewritten(text: str, file: Path, page: Path) -> str:
    """Return the text of a file with its links as they are seen from a page."""
    shown = pages()

    def link(match: re.Match[str]) -> str:
        target = (file.parent / match[1]).resolve()
        target = shown.get(target, target)
        return os.path.relpath(target, page.parent)

    parts, end = [], 0
    for block in [*BLOCK.finditer(text), None]:
        parts.append(LINK.sub(link, text[end : block.start() if block else None]))
        if block:
            parts.append(block[0])
            end = block.end()
    return "".join(parts)


def on_page(app: Sphinx, docname: str, source: list[str]) -> None:
    page = Path(app.env.doc2path(docname))
    if page.suffix == ".md":
        source[0] = rewritten(source[0], page, page)


def on_include(app: Sphinx, file: Path, parent: Any, source: list[str]) -> None:
    path = (Path(app.srcdir) / file).resolve()
    source[0] = rewritten(source[0], path, Path(app.env.doc2path(app.env.docname)))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", on_page)
    app.connect("include-read", on_include)
    return {"parallel_read_safe": True}
