"""The catalogue of metrics and the page that is made of it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from loadgen.metrics import CATALOGUE, GROUPS, find
from loadgen.metrics.__main__ import page

ROOT = Path(__file__).parents[2]


def test_the_page_is_up_to_date() -> None:
    """If not: `python -m loadgen.metrics > docs/metrics.md`."""
    assert (ROOT / "docs/metrics.md").read_text() == page()


def test_the_command_prints_the_page() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "loadgen.metrics"], check=True, capture_output=True, text=True
    )
    assert printed.stdout == page()


def test_no_name_is_used_twice() -> None:
    assert len(CATALOGUE) == sum(map(len, GROUPS.values()))


def test_names_and_fields_are_well_formed() -> None:
    for metric in CATALOGUE.values():
        assert re.fullmatch(r"[a-z][A-Za-z0-9_]*\*?", metric.name), metric.name
        assert re.fullmatch(r"-|\?|\d+\.\d+(\.\d+)?", metric.since), metric.name
        assert metric.meaning, metric.name
        assert metric.meaning[-1] != ".", metric.name
        assert "|" not in metric.meaning, metric.name


def test_limits_are_gauges_of_the_catalogue() -> None:
    for metric in CATALOGUE.values():
        if metric.limit:
            limit = CATALOGUE[metric.limit]
            assert metric.kind == limit.kind == "gauge"
            assert metric.unit == limit.unit


def test_what_fails_its_users_at_its_limit_has_a_name_for_people() -> None:
    """How many servers answer has a bound, and fails nobody when it is reached."""
    titled = {metric.name for metric in CATALOGUE.values() if metric.title}
    limited = {metric.name for metric in CATALOGUE.values() if metric.limit}
    assert titled == {name for name in limited if not name.endswith("_up")}


def test_families_are_found() -> None:
    found = find("generator_outcome_ok")
    assert found is not None
    assert found.name == "generator_outcome_*"
    assert find("sockstat_TCP_tw") is CATALOGUE["sockstat_TCP_tw"]
    assert find("no_such_metric") is None
