"""The built site as a reader has it, in Chromium: from files, on desktop and phone, light and dark.

Needs Debian's chromium and chromium-driver, and selenium.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import site

SITE = site.folder()
webdriver = pytest.importorskip("selenium.webdriver")
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

PAGES = site.pages(SITE)
FORMULAS = [page for page in PAGES if "tex-svg.js" in page.read_text("utf-8")]
# One page of each kind, and all that have wide tables or formulas.
KINDS = [
    "index.html",
    "which_function.html",
    "lecture.html",
    "cross_entropy.html",
    "optimizers.html",
    "performance.html",
    "results.html",
    "distributed.html",
    "api/index.html",
    "api/softstep.html",
    "api/generated/softstep.cross_entropy.html",
    "api/generated/softstep.torch.SGD.html",
    "gallery/index.html",
    "gallery/digits_numpy.html",
    "design/0003-threading.html",
    "development/contributing.html",
]
DESKTOP, PHONE = (1280, 900), (390, 844)
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

# The colour behind a text is that of the nearest ancestor with one; contrast as WCAG 2 has it.
CONTRAST = """
const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
const light = c => [0.2126, 0.7152, 0.0722].reduce((sum, weight, k) => {
  const x = c[k] / 255;
  return sum + weight * (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
}, 0);
const behind = element => {
  for (let e = element; e; e = e.parentElement) {
    const c = numbers(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > 0.5) return c;
  }
  return [255, 255, 255];
};
const poor = [];
for (const e of document.querySelectorAll("article p, article td, article th, article li, article "
    + "h1, article h2, article dt, article pre span, .bd-header a, .bd-sidebar-primary a")) {
  const text = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
  if (!text || !e.offsetParent) continue;
  const [a, b] = [light(numbers(getComputedStyle(e).color)), light(behind(e))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) poor.push(e.textContent.trim().slice(0, 40) + ": " + ratio.toFixed(2));
}
return poor;
"""


# What is wider than the screen has to scroll by itself.
CUT = """
const scrolls = element => {
  for (let e = element; e.tagName != "ARTICLE"; e = e.parentElement)
    if (["auto", "scroll"].includes(getComputedStyle(e).overflowX)) return true;
  return false;
};
return [...document.querySelectorAll("article *")].filter(e => e.getClientRects().length
    && (e.getBoundingClientRect().right > innerWidth + 1
      || (e.matches("h1, h2, p, dt") && e.scrollWidth > e.clientWidth + 1)) && !scrolls(e))
  .map(e => e.outerHTML.slice(0, 80));
"""


class Browser:
    def __init__(self, profile: Path) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for option in (*OPTIONS, f"--user-data-dir={profile}"):
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = webdriver.ChromeService(shutil.which("chromedriver"))
        self.driver = webdriver.Chrome(options=options, service=service)

    def open(self, page: str, size: tuple[int, int] = DESKTOP, scheme: str = "light") -> None:
        """Open a page of the site and wait until its formulas are there."""
        metrics = {"deviceScaleFactor": 1, "mobile": size == PHONE}
        metrics |= dict(zip(("width", "height"), size, strict=True))
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        media = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        self.driver.get((SITE / page.split("?")[0]).as_uri() + page[len(page.split("?")[0]) :])
        self.wait("return document.readyState == 'complete'")
        if self.run("return Boolean(window.MathJax)"):
            self.driver.set_script_timeout(30)
            self.driver.execute_async_script("MathJax.startup.promise.then(arguments[0])")

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def wait(self, condition: str) -> None:
        WebDriverWait(self.driver, 30).until(lambda driver: driver.execute_script(condition))

    def complaints(self) -> list[str]:
        """Return the errors and warnings that the console has had since the last call."""
        entries = self.driver.get_log("browser")
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("no chromium and chromedriver")
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.driver.quit()


def test_no_page_has_an_error_in_the_console(browser: Browser) -> None:
    browser.complaints()
    complaints = {}
    for page in PAGES:
        browser.open(str(page.relative_to(SITE)))
        if found := browser.complaints():
            complaints[page.name] = found
    assert not complaints


@pytest.mark.parametrize("page", FORMULAS, ids=lambda page: page.stem)
def test_formulas_are_drawn(browser: Browser, page: Path) -> None:
    browser.open(str(page.relative_to(SITE)))
    formulas = browser.run("return document.querySelectorAll('span.math, div.math').length")
    drawn = browser.run(
        "return [...document.querySelectorAll('.math mjx-container svg')]"
        ".filter(e => e.getBoundingClientRect().width > 1).length"
    )
    assert 0 < formulas == drawn
    assert (
        browser.run("return document.querySelectorAll('mjx-merror, [data-mjx-error]').length") == 0
    )


def test_the_search_finds_an_option(browser: Browser) -> None:
    browser.open("search.html?q=label_smoothing")
    browser.wait("return document.querySelectorAll('ul.search li').length > 3")
    titles = browser.run("return [...document.querySelectorAll('ul.search a')].map(a => a.href)")
    assert any("softstep.cross_entropy.html" in title for title in titles), titles
    assert any("/cross_entropy.html" in title for title in titles), titles


@pytest.mark.parametrize("page", KINDS)
def test_readable_on_a_phone(browser: Browser, page: str) -> None:
    browser.open(page, PHONE)
    assert browser.run("return document.scrollingElement.scrollWidth") <= PHONE[0]
    text = "document.querySelector('article p:not(td *, th *)')"  # tables are smaller
    assert browser.run(f"return parseFloat(getComputedStyle({text}).fontSize)") >= 15
    assert browser.run(CUT) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", KINDS)
def test_contrast(browser: Browser, page: str, scheme: str) -> None:
    browser.open(page, scheme=scheme)
    assert browser.run("return document.documentElement.dataset.theme") == scheme
    assert browser.run(CONTRAST) == []
