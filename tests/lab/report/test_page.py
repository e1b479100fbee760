"""The page, as text and in a real browser with the network off."""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from lab import report
from lab.records import Comparison
from lab.report.html import render
from lab.report.settings import sysctl_rows
from lab.store import load
from tests.lab.synthetic import HOSTILE, Plan, write_experiment

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    Opener = Callable[..., Page]

CHROMIUM = next(
    (p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None
)
ARTEFACTS = os.environ.get("CHURNLAB_ARTEFACTS")
"""Where screenshots are kept; without it they go to the test's own directory."""
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
TIME_CHARTS = [
    "throughput", "losses", "connect-call", "connect-p99", "ports", "time-wait", "conntrack",
]  # fmt: skip
CHARTS = [*TIME_CHARTS, "latency-connect", "latency-first-byte", "latency-total"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_experiment(tmp_path_factory.mktemp("page") / "demo")
    report.write_all(path)
    return path


@pytest.fixture(scope="module")
def html(directory: Path) -> str:
    return (directory / "index.html").read_text()


def inside(pattern: str, html: str) -> str:
    """Return what the one group of `pattern` finds."""
    found = re.search(pattern, html, re.DOTALL)
    assert found is not None, pattern
    return found[1]


def payload(html: str) -> Any:
    return json.loads(inside(r'<script type="application/json" id="data">(.*?)</script>', html))


def test_sections_come_in_the_order_a_reader_needs(html: str) -> None:
    order = [
        "verdict",
        "gates",
        "numbers",
        "broke",
        "course",
        "latency",
        "settings",
        "circumstances",
    ]
    places = [html.index(f'<section id="{name}"') for name in order]
    assert places == sorted(places)


def test_the_page_names_no_other_place(html: str) -> None:
    """Nothing to load: the only addresses are in uPlot's licence line, and the policy forbids all."""
    assert "default-src 'none'" in html
    assert not re.search(r'(src|href)="(https?:)?//', html)
    assert not re.search(r"@import|url\(", html)


def test_uplot_comes_with_its_licence(html: str) -> None:
    assert "Permission is hereby granted, free of charge" in html


def test_what_users_wrote_stays_text(html: str) -> None:
    assert "<script>window.broken" not in html
    assert "<img" not in html
    assert html.count("&lt;/script&gt;&lt;script&gt;window.broken") >= 2


def test_every_chart_has_title_unit_legend_and_table(html: str) -> None:
    for chart in CHARTS:
        figure = inside(rf'<figure class="chart" id="{chart}">(.*?)</figure>', html)
        assert re.search(r"<h3>[^<]+</h3>", figure)
        assert re.search(r'<p class="unit">\w+', figure)
        lines = next(f for f in payload(html)["figures"] if f["id"] == chart)["lines"]
        assert figure.count('class="swatch') == len(lines) > 0
        assert figure.count("<tr>") > 10


def test_the_line_is_a_trial_and_the_band_holds_it(html: str) -> None:
    for figure in payload(html)["figures"]:
        for line in figure["lines"]:
            assert len(line["values"]) == len(figure["x"])
            for low, value, high in zip(line["low"], line["values"], line["high"], strict=False):
                if value is not None:
                    assert low <= value * 1.001
                    assert value <= high * 1.001


def test_limits_are_drawn_near_and_named_far(tmp_path: Path) -> None:
    """nf_conntrack_max appears as a line only where something comes near it."""
    far = write_experiment(tmp_path / "far", trials=1, before=Plan(rate=200), after=Plan(rate=200))
    report.write_all(far)
    html = (far / "index.html").read_text()
    assert "nf_conntrack_max: 262,144, far above this scale" in html


def test_what_could_not_be_read_is_said_where_its_chart_would_be(tmp_path: Path) -> None:
    plan = Plan(duration=1, unread=True)
    path = write_experiment(tmp_path / "e", trials=1, before=plan, after=plan)
    report.write_all(path)
    html = (path / "index.html").read_text()
    assert 'id="conntrack"' not in html
    assert "Connections tracked by conntrack: not drawn, nf_conntrack is not loaded." in html


def test_settings_that_changed_come_first_and_a_refused_one_is_marked(directory: Path) -> None:
    experiment = load(directory).experiment
    rows = sysctl_rows(experiment)
    assert [row["key"] for row in rows if row["changed"]] == [
        "net.ipv4.ip_local_port_range",
        "net.ipv4.tcp_tw_reuse",
    ]
    assert rows[0]["changed"]
    assert not rows[-1]["changed"]
    trials = [
        msgspec.structs.replace(t, sysctls={"client": {"net.ipv4.tcp_tw_reuse": "2"}})
        for t in experiment.trials
    ]
    refused = sysctl_rows(msgspec.structs.replace(experiment, trials=trials))
    cell = next(r for r in refused if r["key"] == "net.ipv4.tcp_tw_reuse")["cells"][1]
    assert (cell["refused"], cell["asked"], cell["value"]) == (True, "1", "2")


def test_twenty_long_trials_make_a_small_page_quickly(tmp_path: Path) -> None:
    """20 trials of 60 s at 10 samples a second and role: under 2 MB, under 3 s."""
    path = write_experiment(
        tmp_path / "big",
        trials=10,
        before=Plan(duration=60),
        after=Plan(duration=60, collapse=False),
    )
    stored = load(path)
    comparison = report.compare_stored(stored)
    gc.collect()
    began = time.process_time()
    html = render(stored, comparison)
    took = time.process_time() - began
    assert len(html.encode()) < 2_000_000
    assert took < 3, f"{took:.1f} s of CPU"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium here: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Browser, directory: Path) -> Iterator[Opener]:
    """Opens the page offline; at the end there must have been no error and no request."""
    problems: list[str] = []
    contexts: list[Any] = []

    def open_page(width: int = 1280, scheme: Any = "light", **options: Any) -> Page:
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
        page.goto((directory / "index.html").as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def inked(page: Page, chart: str) -> dict[str, int]:
    """How many pixels of a chart's canvas have the colour of each course."""
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


@pytest.mark.browser
class TestInBrowser:
    """Chromium, from file://, offline."""

    def test_the_verdict_is_that_of_comparison_json(self, opened: Opener, directory: Path) -> None:
        data = (directory / "comparison.json").read_bytes()
        comparison = msgspec.json.decode(data, type=Comparison)
        page = opened()
        assert page.inner_text("#sentence") == comparison.sentence
        assert page.inner_text("#verdict-title").endswith("Prevents the failures")
        assert not page.evaluate("window.broken === true")

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_every_chart_is_drawn_with_both_arms(self, opened: Opener, scheme: str) -> None:
        page = opened(scheme=scheme)
        for chart in CHARTS:
            ink = inked(page, chart)
            assert ink["second"] > 50, chart
            # In the chart of TIME_WAIT and ports the lines of both arms may cover each other.
            assert ink["first"] > 20, chart

    @pytest.mark.parametrize("width", [390, 1280])
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_fits_the_width(self, opened: Opener, tmp_path: Path, width: int, scheme: str) -> None:
        page = opened(width, scheme)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate(
            "[...document.querySelectorAll('.uplot')].every(e => e.getBoundingClientRect().right <= innerWidth)"
        )
        folder = Path(ARTEFACTS) if ARTEFACTS else tmp_path
        folder.mkdir(parents=True, exist_ok=True)
        shot = folder / f"page-{width}-{scheme}.png"
        page.screenshot(path=shot, full_page=True)
        assert shot.stat().st_size > 50_000

    def test_charts_follow_the_window(self, opened: Opener) -> None:
        page = opened(1280)
        page.set_viewport_size({"width": 390, "height": 900})
        page.wait_for_function(
            "[...document.querySelectorAll('.uplot')].every(e => e.getBoundingClientRect().right <= innerWidth)"
        )

    def test_keys_read_the_values(self, opened: Opener) -> None:
        page = opened()
        page.focus("#throughput .plot")
        for key in ("End", "ArrowLeft", "ArrowRight"):
            page.keyboard.press(key)
        said = page.inner_text("#throughput [aria-live]")
        assert said.startswith("5 s: ")
        assert re.search(r"after: served [\d,]+/s", said)
        page.keyboard.press("Escape")
        assert page.inner_text("#throughput .legend output >> nth=0") == ""

    def test_everything_is_reached_with_the_tab_key(self, opened: Opener) -> None:
        page = opened()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        expected = page.evaluate(
            "document.querySelectorAll('a[href], summary, [tabindex=\"0\"]').length"
        )
        hidden = page.evaluate(
            "document.querySelectorAll('details:not([open]) :is(a[href], [tabindex=\"0\"])').length"
        )
        seen = 1
        while page.evaluate("document.activeElement !== document.body") and seen < 200:
            page.keyboard.press("Tab")
            seen += 1
        assert seen - 1 == expected - hidden

    @pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
    def test_axe_finds_nothing(self, opened: Opener, width: int, scheme: str) -> None:
        """WCAG 2.2 A and AA and axe's best practices: no finding of any weight."""
        axe = pytest.importorskip("axe_playwright_python")
        page = opened(width, scheme)
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        page.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text())
        found = page.evaluate(
            "axe.run().then(r => r.violations.map(v => [v.id, v.impact, v.nodes[0].html]))"
        )
        assert found == []

    def test_prints_in_light_colours_even_from_the_dark(self, opened: Opener) -> None:
        page = opened(scheme="dark")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 703, "height": 900})  # A4 inside margins of 12 mm
        assert page.evaluate("document.documentElement.scrollWidth") == 703
        assert inked(page, "throughput")["first"] > 20
        assert (
            page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        )
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(23, 28, 36)"
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        page.emulate_media(media="screen")
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(231, 234, 239)"

    def test_without_javascript_the_numbers_are_there(self, opened: Opener) -> None:
        page = opened(java_script_enabled=False)
        assert "their numbers are in the tables" in page.content()
        assert page.locator("#throughput table tbody tr").count() > 40


def test_host_name_is_shown_escaped(html: str) -> None:
    assert HOSTILE.replace("<", "&lt;").replace(">", "&gt;") in html
