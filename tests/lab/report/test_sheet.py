"""Sheets: reports that are no before/after, as text, Markdown and in a real browser, offline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.ablate.render import ablation_sheet
from lab.cli.deliver import deliver
from lab.report import index, sheet
from lab.report.sheet import Section, Sheet, Table
from lab.sweep.render import sweep_sheet, validation_sheet
from loadgen.summary import Environment
from tests.browser import accessibility
from tests.lab.ablate.worlds import ablation, lines_of, summary
from tests.lab.sweep.test_render import OPEN, capacity, check, sweep, validation

if TYPE_CHECKING:
    from tests.browser import Opener

HOSTILE = "</style><script>window.broken = true</script> | `x` *y*"
LINES = lines_of(["net.ipv4.tcp_tw_reuse", "net.ipv4.ip_local_port_range"])
LOSSES = {
    "none": [0.8] * 6, "all": [0.0] * 6, "only-tcp_tw_reuse": [0.3] * 6,
    "without-tcp_tw_reuse": [0.7] * 6,
}  # fmt: skip


def hostile() -> Sheet:
    return Sheet(
        title=HOSTILE,
        kind=HOSTILE,
        tone="bad",
        sign="✗",
        words=HOSTILE,
        sentence=HOSTILE,
        started_at="2026-11-20T10:00:00+00:00",
        facts=((HOSTILE, HOSTILE),),
        sections=(
            Section(
                title=HOSTILE,
                about=HOSTILE,
                table=Table(header=(HOSTILE, "n"), rows=((HOSTILE, "1"),), numbers=frozenset({1})),
                lines=(HOSTILE,),
            ),
            Section(title="only on the page", lines=("long",), long=True),
        ),
    )


SHEETS = {
    "sweep": sweep_sheet(sweep(capacity(), capacity(tuning="other", **OPEN))),
    "validation": validation_sheet(validation(check(), check(measured=900), check(measured=None))),
    "ablation": ablation_sheet(
        ablation(LINES, LOSSES),
        {arm: [summary(share) for share in shares] for arm, shares in LOSSES.items()},
        Environment(kernel="6.18.44"),
    ),
    "hostile": hostile(),
}


def test_text_from_outside_stays_text() -> None:
    page = sheet.page(hostile())
    assert "<script>" not in page
    assert page.count("&lt;script&gt;") > 10
    assert r"\`x\` \*y\*" in sheet.markdown(hostile())
    assert HOSTILE.split(" | ", maxsplit=1)[0] in " ".join(sheet.text(hostile()).split())


def test_a_terminal_and_a_comment_are_spared_what_is_long() -> None:
    assert "only on the page" in sheet.page(hostile())
    assert "only on the page" not in sheet.text(hostile())
    assert "only on the page" not in sheet.markdown(hostile())


def test_it_is_delivered_and_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "sweep-1"
    out.mkdir()
    record = sweep(capacity())
    deliver(SHEETS["sweep"], record, "-", out)
    printed = capsys.readouterr()
    assert json.loads(printed.out)["schema"] == "churnlab.sweep/1"
    assert printed.err.endswith(f"report: {out}/index.html\n")
    assert {path.name for path in out.iterdir()} == {
        "index.html", "summary.md", "sheet.json", "sweep.svg",
    }  # fmt: skip
    listed = index.render(tmp_path)
    assert "As predicted" in listed
    assert "2026-11-20 10:00 UTC" in listed
    assert "Cannot be read" not in listed


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (390, "light")])
@pytest.mark.parametrize("name", SHEETS)
def test_the_page_fits_and_axe_finds_nothing(
    open_page: Opener, tmp_path: Path, name: str, width: int, scheme: str
) -> None:
    """Offline, on a phone and a wide screen, WCAG 2.2 A and AA and axe's best practices."""
    path = tmp_path / f"{name}.html"
    path.write_text(sheet.page(SHEETS[name]))
    page = open_page(path, width, scheme, bypass_csp=True)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert not page.evaluate("window.broken === true")
    assert accessibility(page) == []
