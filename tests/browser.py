"""Opens pages in Debian's chromium, from file:// and with the network off."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    Opener = Callable[..., Page]

CHROMIUM = next(
    (p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None
)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    if CHROMIUM is None:
        pytest.skip("no chromium here: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Opener]:
    """Opens a file offline; at the end there must have been no message, no error, no request."""
    problems: list[str] = []
    contexts: list[Any] = []

    def open_it(path: Path, width: int = 1280, scheme: Any = "light", **options: Any) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "request",
            lambda request: (
                problems.append(request.url)
                if not request.url.startswith(("file:", "data:"))
                else None
            ),
        )
        page.goto(path.as_uri())
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def artefacts(tmp_path: Path) -> Path:
    """Where screenshots are kept: $CHURNLAB_ARTEFACTS, or the test's own directory."""
    folder = Path(os.environ.get("CHURNLAB_ARTEFACTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def inked(page: Page, chart: str) -> dict[str, int]:
    """Return how many pixels of a chart's canvas have the colour of each course."""
    count: dict[str, int] = page.evaluate(
        """(id) => {
            const canvas = document.querySelector(`#${id} canvas`);
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            const style = getComputedStyle(document.documentElement);
            const count = { first: 0, second: 0 };
            for (const ink of ["first", "second"]) {
                const hex = style.getPropertyValue(`--${ink}`).trim();
                const [r, g, b] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
                for (let i = 0; i < data.length; i += 4) {
                    const near = Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b) < 12;
                    if (near && data[i + 3] > 250) count[ink] += 1;
                }
            }
            return count;
        }""",
        chart,
    )
    return count


def accessibility(page: Page) -> list[Any]:
    """Return axe's findings of any weight: WCAG 2.2 A and AA, and best practices."""
    axe = pytest.importorskip("axe_playwright_python")
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text())
    found: list[Any] = page.evaluate(
        "axe.run().then(r => r.violations.map(v => [v.id, v.impact, v.nodes[0].html]))"
    )
    return found
