"""The page of one run, as text and in a real browser with the network off."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from loadgen.report import page
from loadgen.report.headline import headline
from loadgen.run import rundir
from loadgen.run.stored import salvage
from tests.browser import accessibility, inked
from tests.loadgen.synthetic import HOSTILE, Plan, write_run

if TYPE_CHECKING:
    from tests.browser import Opener

CHARTS = [
    "throughput", "losses", "connect-call", "connect-p99", "ports", "time-wait", "conntrack",
    "latency-connect", "latency-first-byte", "latency-total",
]  # fmt: skip


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "run"
    write_run(path, Plan(), seed=1)
    page.write(salvage(path))
    return path


@pytest.fixture(scope="module")
def html(directory: Path) -> str:
    return (directory / page.PAGE).read_text()


def test_sections_come_in_the_order_a_reader_needs(html: str) -> None:
    order = [
        "verdict", "gates", "numbers", "broke", "course", "latency", "kernel", "circumstances",
    ]  # fmt: skip
    places = [html.index(f'<section id="{name}"') for name in order]
    assert places == sorted(places)


def test_it_is_one_file_that_names_no_other_place(html: str) -> None:
    assert "default-src 'none'" in html
    assert not re.search(r'(src|href)="(https?:)?//', html)
    assert not re.search(r"@import|url\(", html)
    assert "Permission is hereby granted, free of charge" in html


def test_what_users_wrote_stays_text(html: str) -> None:
    assert HOSTILE not in html
    assert "<img" not in html


def test_every_count_of_the_summary_is_there(directory: Path, html: str) -> None:
    summary = rundir.read_summary(directory)
    assert summary is not None
    for field in ("scheduled", "started", "ok", "failed", "dropped"):
        assert f"{getattr(summary, field):,}" in html
    for role in summary.kernel:
        assert f"of the {role}</summary>" in html


def test_files_beside_it_are_linked_and_exist(directory: Path, html: str) -> None:
    links = {link for link in re.findall(r'href="([^"#][^"]*)"', html) if link != "data:,"}
    assert {"run.json", "samples.jsonl", "snapshots/dropped_overdue.json"} <= links
    assert all((directory / link).exists() for link in links)


def test_a_run_without_arrivals_has_a_page(tmp_path: Path) -> None:
    write_run(tmp_path / "run", Plan(cut=0.0), seed=1)
    page.write(salvage(tmp_path / "run"))
    html = (tmp_path / "run" / page.PAGE).read_text()
    assert "No connection was due." in html
    assert "too short for charts over time" in html


@pytest.mark.browser
class TestInBrowser:
    """Chromium, from file://, offline."""

    def test_the_sentence_is_the_summarys(self, open_page: Opener, directory: Path) -> None:
        opened = open_page(directory / page.PAGE)
        found = headline(salvage(directory).summary)
        assert opened.inner_text("#sentence") == found.sentence
        assert opened.inner_text("#verdict-title").endswith(found.words)
        assert not opened.evaluate("window.broken === true")

    @pytest.mark.parametrize("width", [390, 1280])
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_charts_are_drawn_and_fit(
        self, open_page: Opener, directory: Path, artefacts: Path, width: int, scheme: str
    ) -> None:
        opened = open_page(directory / page.PAGE, width, scheme)
        for chart in CHARTS:
            assert inked(opened, chart)["second"] > 20, chart
        assert opened.evaluate("document.documentElement.scrollWidth") == width
        shot = artefacts / f"run-{width}-{scheme}.png"
        opened.screenshot(path=shot, full_page=True)
        assert shot.stat().st_size > 50_000

    @pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
    def test_axe_finds_nothing(
        self, open_page: Opener, directory: Path, width: int, scheme: str
    ) -> None:
        assert accessibility(open_page(directory / page.PAGE, width, scheme)) == []
