"""The page, as text and in a real browser with the network off."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from lab import report
from lab.analysis.records import Comparison, Prediction
from lab.analysis.store import load
from lab.report.html import courses, render
from lab.report.settings import sysctl_rows
from loadgen.report import page
from loadgen.report.page.charts import plates
from loadgen.report.page.figures import table
from loadgen.report.page.marks import END
from loadgen.run.stored import salvage
from tests.browser import accessibility, inked
from tests.lab.synthetic import HOSTILE, Plan, write_experiment

if TYPE_CHECKING:
    from tests.browser import Opener

TIME_CHARTS = [
    "throughput", "losses", "connect-call", "connect-p99", "ports", "time-wait", "conntrack",
]  # fmt: skip
CHARTS = [*TIME_CHARTS, "latency-connect", "latency-first-byte", "latency-total"]

PREDICTED = [Prediction(name="before: first loss after", predicted=0.7, measured=0.71, unit="s")]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_experiment(tmp_path_factory.mktemp("page") / "demo")
    report.write_all(path, predictions=PREDICTED)
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
        "predictions",
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


def test_the_first_failure_is_told_with_what_was_near(html: str) -> None:
    """A snapshot's essence, the trial it is of, and the file with all the rest."""
    kept = inside(r'<div class="kept">(.*?)</div>', html)
    assert "At the first arrival given up (overdue), " in kept
    assert re.search(r"\(trial \d; seen in 5 of 5 trials\)", kept)
    assert re.search(r"client: [\d,]+ of 28,232 local ports in use &lt;/script&gt;", kept)
    [place] = re.findall(r'href="(trials/\d+-before/snapshots/dropped_overdue.json)"', kept)
    shown = inside(r"The line “before” is (trial \d)", html)
    assert f"trials/{int(shown[-1]):02}-before/" in place


def test_ports_are_readings_and_the_first_failure_is_one_of_them(directory: Path) -> None:
    drawn = plates(courses(load(directory)), {})
    ports = next(figure for figure in drawn.time if figure.id == "ports")
    assert ports.readings
    before = next(line for line in ports.lines if line.label == "before: in use")
    marker = next(mark for mark in drawn.markers if "first connection lost" in mark.text)
    at = ports.x.index(round(marker.t + 0.02, 3))
    assert before.values[at] is not None
    assert all(row[1] != "–" or row[2] != "–" for row in table(ports)[1])


def test_faults_and_the_end_of_the_schedule_are_marked(tmp_path: Path) -> None:
    plan = Plan(duration=3, fault="kill server-1")
    path = write_experiment(tmp_path / "e", trials=2, before=plan, after=plan)
    comparison = report.write_all(path)
    assert comparison.faults == ["kill server-1 at 2s: carried out in 4 of 4 trials, at 2.00 s"]
    for name in ("index.html", "summary.md", "comparison.json"):
        assert "carried out in 4 of 4 trials" in (path / name).read_text()
    html = (path / "index.html").read_text()
    assert "before, 2.00 s: on purpose: kill server-1" in html
    assert "after, 2.00 s: on purpose: kill server-1" in html
    longer = plates(courses(load(path)), {})
    assert longer.markers[-1].key != END
    courses_ = [
        msgspec.structs.replace(
            course,
            summaries=[
                msgspec.structs.replace(s, config=msgspec.structs.replace(s.config, duration=2.5))
                for s in course.summaries
                if s is not None
            ],
        )
        for course in courses(load(path))
    ]
    last = plates(courses_, {}).markers[-1]
    assert (last.key, last.t, last.ink) == (END, 2.5, "limit")


def test_links_lead_somewhere(directory: Path, tmp_path: Path) -> None:
    """A report that was moved away from its trials, as the sample is, has no dead link."""
    html = (directory / "index.html").read_text()
    links = {link for link in re.findall(r'href="([^"#][^"]*)"', html) if link != "data:,"}
    assert "trials/01-before/" in links
    assert all((directory / link).exists() for link in links)
    stored, lone = load(directory), tmp_path / "lone"
    report.write_reports(lone, stored, report.compare_stored(stored))
    moved = (lone / "index.html").read_text()
    assert 'href="trials/' not in moved
    assert all(
        (lone / link).exists()
        for link in re.findall(r'href="([^"#][^"]*)"', moved)
        if link != "data:,"
    )


def test_a_trial_with_a_page_of_its_own_is_linked_to_it(tmp_path: Path) -> None:
    path = write_experiment(
        tmp_path / "e", trials=1, before=Plan(duration=1), after=Plan(duration=1)
    )
    page.write(salvage(path / "trials/01-before"))
    report.write_all(path)
    html = (path / "index.html").read_text()
    assert 'href="trials/01-before/index.html"' in html
    assert 'href="trials/01-after/"' in html


def test_an_arm_without_any_trial_leaves_the_rest_of_the_page(tmp_path: Path) -> None:
    path = write_experiment(
        tmp_path / "e", trials=1, before=Plan(duration=1), after=Plan(duration=1)
    )
    shutil.rmtree(path / "trials/01-after")
    (path / "experiment.json").unlink()
    assert report.write_all(path).verdict == "inconclusive"
    html = (path / "index.html").read_text()
    assert "No trial of this arm counts." in html
    assert 'id="throughput"' in html


def test_limits_are_drawn_near_and_named_far(tmp_path: Path) -> None:
    """nf_conntrack_max appears as a line only where something comes near it."""
    far = write_experiment(tmp_path / "far", trials=1, before=Plan(rate=200), after=Plan(rate=200))
    report.write_all(far)
    html = (far / "index.html").read_text()
    assert not any(f["id"] == "conntrack" and len(f["lines"]) > 2 for f in payload(html)["figures"])
    assert "nf_conntrack_max: 262,144, far above this scale" in html


def test_an_empty_table_is_drawn_against_its_limit(tmp_path: Path) -> None:
    idle = write_experiment(
        tmp_path / "idle", trials=1, before=Plan(rate=0.1), after=Plan(rate=0.1)
    )
    report.write_all(idle)
    html = (idle / "index.html").read_text()
    assert "It stayed empty: nothing was tracked." in html
    [figure] = [f for f in payload(html)["figures"] if f["id"] == "conntrack"]
    assert figure["lines"][-1]["ink"] == "limit"
    assert set(figure["lines"][-1]["values"]) == {262_144}


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


def test_twenty_long_trials_make_a_small_page(tmp_path: Path) -> None:
    """20 trials of 60 s at 10 samples a second and role: under 2 MB. How long: bench/page.py."""
    path = write_experiment(
        tmp_path / "big",
        trials=10,
        before=Plan(duration=60),
        after=Plan(duration=60, collapse=False),
    )
    stored = load(path)
    assert len(render(stored, report.compare_stored(stored)).encode()) < 2_000_000


@pytest.fixture
def opened(open_page: Opener, directory: Path) -> Opener:
    """Opens the page of the experiment."""
    return lambda *args, **options: open_page(directory / "index.html", *args, **options)


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
    def test_fits_the_width(self, opened: Opener, artefacts: Path, width: int, scheme: str) -> None:
        page = opened(width, scheme)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate(
            "[...document.querySelectorAll('.uplot')].every(e => e.getBoundingClientRect().right <= innerWidth)"
        )
        shot = artefacts / f"page-{width}-{scheme}.png"
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
        assert accessibility(opened(width, scheme)) == []

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
