"""Records of sweeps and validations, and what people are shown of them."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest

from lab.report import sheet
from lab.sweep.records import Capacity, Probe, Sweep, SweepConfig, ValidatedFigure, Validation
from lab.sweep.render import bracket, check_line, sweep_sheet, validation_sheet
from lab.sweep.search import TrialEnd
from loadgen.summary import Environment


def probe(rate: float, ended: TrialEnd, why: str = "") -> Probe:
    return Probe(
        rate=rate, ended=ended, scheduled=300, ok=300, failed=0, dropped=0, why=why, directory="d"
    )


def capacity(**changed: Any) -> Capacity:
    fields: dict[str, Any] = {
        "tuning": "mine",
        "settings": {"net.ipv4.tcp_tw_reuse": "1"},
        "predicted": 1_000.0,
        "bound_by": "port_search_slow",
        "for_good": 470.0,
        "low": 980.0,
        "high": 1_020.0,
        "at_least": False,
        "clean": 4,
        "lost": 4,
        "tried_high": 4,
        "p": 1 / 70,
        "cause": "<b>no port</b>",
        "probes": [probe(980.0, TrialEnd.CLEAN), probe(1_020.0, TrialEnd.LOST, "<b>no port</b>")],
        "skipped": ["vm.swappiness: line 3: no part of a network namespace"],
    } | changed
    return Capacity(**fields)


def sweep(*capacities: Capacity, **changed: Any) -> Sweep:
    fields: dict[str, Any] = (
        {
            "name": "sweep-1",
            "started_at": "2026-11-20T10:00:00+00:00",
            "finished": True,
            "config": SweepConfig(
                duration=3.0, confirm=4, precision=0.05, close="client", servers=1,
                source_addresses=1, rtt=0.0, local_port_range=None, loadgen=[],
            ),
            "environment": Environment(kernel="6.18.44", cpus=2),
            "closed_loop_rate": 14_000.0,
            "capacities": list(capacities),
        }
        | changed
    )  # fmt: skip
    return Sweep(**fields)


OPEN = {"high": None, "at_least": True, "p": None, "tried_high": 0, "lost": 0}


@pytest.mark.parametrize(
    ("changed", "words", "measured", "agrees"),
    [
        ({}, "980 to 1,020/s", 1_000.0, True),
        ({"predicted": 1_060.0}, "980 to 1,020/s", 1_000.0, True),  # within 5 % of the bracket
        ({"predicted": 1_100.0}, "980 to 1,020/s", 1_000.0, False),
        ({"predicted": 900.0}, "980 to 1,020/s", 1_000.0, False),
        ({"predicted": None}, "980 to 1,020/s", 1_000.0, None),
        (OPEN, "at least 980/s", None, True),
        (OPEN | {"predicted": 100.0}, "at least 980/s", None, None),
        ({"low": None}, "below 1,020/s", None, None),
        (OPEN | {"low": None}, "none", None, None),
    ],
)
def test_a_measured_capacity_in_words(
    changed: dict[str, Any], words: str, measured: float | None, agrees: bool | None
) -> None:
    found = capacity(**changed)
    assert bracket(found) == words
    assert found.measured == measured
    assert found.agrees is agrees


@pytest.mark.parametrize(
    ("record", "words", "sentence"),
    [
        (sweep(capacity()), "As predicted", "lies in the measured bracket for mine"),
        (sweep(capacity(predicted=2_000.0)), "The prediction is off", "contradicts the prediction: mine"),
        (sweep(capacity(**OPEN)), "As predicted", "this machine or the generator was the limit first"),
        (sweep(capacity(low=None)), "Nothing was measured", "Nothing can be said about mine"),
        (sweep(capacity(), finished=False), "As predicted", "The sweep was interrupted."),
        (sweep(), "Nothing was measured", "No tuning was measured."),
    ],
)  # fmt: skip
def test_the_verdict_of_a_sweep(record: Sweep, words: str, sentence: str) -> None:
    found = sweep_sheet(record)
    assert found.words == words
    assert sentence in found.sentence


def test_a_sweep_is_text_markdown_and_page() -> None:
    """Text from outside stays text in all of them."""
    found = sweep_sheet(sweep(capacity(), capacity(tuning="other", **OPEN)))
    shown = sheet.text(found)
    assert "980 to 1,020/s" in " ".join(shown.split())
    assert "nothing lost in 4 trials at 980/s; something lost in 4 of 4 trials at 1,020/s" in (
        " ".join(shown.split())
    )
    assert max(map(len, shown.splitlines())) <= 100
    assert "](sweep.svg)" in sheet.markdown(found)
    page = sheet.page(found)
    assert "<b>no port" not in page
    assert "&lt;b&gt;no port" in page
    assert "vm.swappiness" in page


def test_the_plot_is_well_formed_and_has_every_trial() -> None:
    plot = sweep_sheet(sweep(capacity())).sections[0].plot
    assert plot is not None
    root = ET.fromstring(plot.svg)
    titles = [element.text for element in root.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == ["980/s: clean", "1,020/s: lost, <b>no port</b>", "predicted: 1,000/s"]


def test_records_are_json() -> None:
    record = sweep(capacity())
    assert msgspec.json.decode(msgspec.json.encode(record), type=Sweep) == record


def check(**changed: Any) -> ValidatedFigure:
    fields: dict[str, Any] = {
        "name": "ports",
        "situation": "1,000 ports",
        "quantity": "connections until no port is free",
        "unit": "1",
        "predicted": 1_000,
        "measured": 1_001,
        "tolerance": 0.005,
    } | changed
    return ValidatedFigure(**fields)


def validation(*checks: ValidatedFigure) -> Validation:
    return Validation(
        started_at="2026-11-20T10:00:00+00:00",
        environment=Environment(kernel="6.18.44"),
        checks=list(checks),
    )


@pytest.mark.parametrize(
    ("changed", "error", "agrees"),
    [
        ({}, -1 / 1_001, True),
        ({"measured": 1_000}, 0.0, True),
        ({"measured": 900}, 1 / 9, False),
        ({"measured": 0}, float("inf"), False),
        ({"measured": 0, "predicted": 0}, 0.0, True),
        ({"measured": None, "note": "spoiled"}, None, None),
    ],
)
def test_the_error_is_a_share_of_what_was_measured(
    changed: dict[str, Any], error: float | None, agrees: bool | None
) -> None:
    found = check(**changed)
    assert found.error == (None if error is None else pytest.approx(error))
    assert found.agrees is agrees


@pytest.mark.parametrize(
    ("checks", "words", "sentence"),
    [
        ([check()], "As predicted", "1 of 1 predictions are within their tolerance of what was "
                                    "measured; the greatest error is 0.10%."),
        ([check(), check(measured=900)], "The prediction is off", "Outside: ports."),
        ([check(measured=None, note="x")], "Not all was measured", "Not measured: ports."),
        ([], "Not all was measured", "0 of 0"),
    ],
)  # fmt: skip
def test_the_verdict_of_a_validation(
    checks: list[ValidatedFigure], words: str, sentence: str
) -> None:
    found = validation_sheet(validation(*checks))
    assert found.words == words
    assert sentence in found.sentence


def test_a_validation_is_text_markdown_and_page() -> None:
    found = validation_sheet(
        validation(check(), check(unit="s", predicted=1.998, measured=2.001, tolerance=0.05))
    )
    shown = " ".join(sheet.text(found).split())
    assert "1,000 1,001 −0.10% 0.5% yes" in shown
    assert "1.998 s 2.001 s −0.15% 5.0% yes" in shown
    assert "| 1,000 | 1,001 | −0.10% | 0.5% | yes |" in sheet.markdown(found)
    assert "<svg" in sheet.page(found)


def test_a_check_as_a_line() -> None:
    assert " ".join(check_line(check()).split()) == (
        "ports predicted 1,000 measured 1,001 error −0.10% of 0.5% ok"
    )
    assert check_line(check(measured=None, note="spoiled 3 times")).endswith(
        "not measured: spoiled 3 times"
    )
    assert "OFF" in check_line(check(measured=900))
