"""The summary on a terminal says what happened, why, and how sure one can be."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadgen.report.text import render
from loadgen.run.conclude import Ended, conclude
from loadgen.sample import Sample
from tests.loadgen.builders import about, generator_sample, run_config


def _text(ended: Ended | None = None, out: Path | None = None, **config: object) -> str:
    samples = [
        Sample(0.5, "client", {"ephemeral_ports_in_use": 28_232, "ephemeral_ports_limit": 28_232}),
        generator_sample(
            1.0, scheduled=1500, started=1200, ok=1000, failed=150, in_flight=50, dropped=300,
            drop_overdue=300, outcome_local_port_exhausted=150, error_EADDRNOTAVAIL=150,
            reply_hit=990, reply_miss=10, connect_calls=1200, connect_call_seconds=0.12,
            cpu_user_seconds=0.06, cpu_system_seconds=0.06,
        ),
    ]  # fmt: skip
    known = about(run_config(**config), ended or Ended(elapsed=1.0))
    return render(conclude(known, samples, {"total": {150: 1000}}), out)


def test_every_count_is_on_its_line() -> None:
    lines = {line.split()[0]: line for line in _text().splitlines() if line.strip()}
    assert "1,500" in lines["scheduled"]
    assert "1,200" in lines["started"]
    assert "1,000" in lines["ok"]
    assert "hit 990, miss 10" in lines["ok"]
    assert "150   local_port_exhausted 150" in lines["failed"]
    assert "300" in lines["dropped"]
    assert "50" in lines["unfinished"]
    assert "150 µs" in lines["total"]


def test_the_close_mode_is_named_and_explained() -> None:
    assert "close: rst (the client resets (SO_LINGER 0): no TIME_WAIT anywhere)" in _text(
        close="rst"
    )


def test_a_cause_comes_with_evidence_and_remedy() -> None:
    text = _text()
    assert "ran out of local ports toward the server: 150 (the client's host" in text
    assert "· connect() failed 150 times with EADDRNOTAVAIL" in text
    assert "· 28,232 local ports in use toward one destination, of 28,232" in text
    assert "→ net.ipv4.tcp_tw_reuse = 1" in text


@pytest.mark.parametrize(
    ("ended", "starts"),
    [
        (Ended(elapsed=1.0), "generator_limited: "),
        (Ended(elapsed=1.0, interrupted=True), "partial: "),
    ],
)
def test_it_ends_with_validity_the_cost_of_a_connection_and_what_was_the_limit(
    ended: Ended, starts: str
) -> None:
    *_, last, limit = _text(ended).splitlines()
    assert last.strip().startswith(starts)
    assert "100 µs of CPU a connection (user 50 µs), 100 µs inside connect()" in last
    assert limit.strip().startswith("limit: ")


def test_thresholds_say_what_was_measured() -> None:
    text = _text(thresholds=["failed: count == 0", "ok: count > 5", "latency_connect: max < 1s"])
    assert "FAIL  failed: count == 0  (measured 150)" in text
    assert "pass  ok: count > 5  (measured 1,000)" in text
    assert "FAIL  latency_connect: max < 1s  (not measured)" in text


def test_the_path_of_the_run_comes_last() -> None:
    assert _text(out=Path("runs/x")).splitlines()[-1].strip() == "runs/x"


def test_a_run_of_nothing_has_a_text() -> None:
    text = render(conclude(about(), [], {}))
    assert "partial: nothing was started" in text
    assert text.endswith("\n")
