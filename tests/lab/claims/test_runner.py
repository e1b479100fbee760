"""Experiments for real, and what the runner does with those that cannot be done or go wrong."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from lab.claims import runner
from lab.claims.catalogue import ENTRIES
from lab.claims.claim import Claim
from lab.claims.expected import Platform
from lab.claims.experiments import BY_FINDING, ClaimExperiment
from lab.claims.findings import EntrySize, Finding, PortDefaults
from lab.claims.outcome import Failed, Found, Outcome, Refused
from lab.claims.results import results
from lab.testbed.base import UntestableError
from lab.testbed.ground import Ground, sleep
from lab.testbed.processes import run_tool, slowness
from loadgen.run.environment import describe

pytestmark = pytest.mark.kernel

BY_NAME = {experiment.name: experiment for experiment in BY_FINDING.values()}
QUICK = (
    "packets",
    "stray-segments",
    "time-wait-holders",
    "reuse-settings",
    "reuse-modes",
    "reuse-conditions",
    "conntrack-tracking",
    "conntrack-timers",
    "conntrack-settings",
    "port-defaults",
    "usable-ports",
    "stolen-port",
)
"""Those that need no minute and no large table, and time nothing that a busy machine spoils."""
SIZE = EntrySize(object_size=1, evidence=[])


class Log:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def started(self, experiment: ClaimExperiment[Any]) -> None:
        self.lines.append(f"+{experiment.name}")

    def ended(self, experiment: ClaimExperiment[Any], outcome: Outcome) -> None:
        self.lines.append(f"-{experiment.name}")


def fake(run: Callable[[Ground], Finding], **options: Any) -> ClaimExperiment[Any]:
    return ClaimExperiment(**{"name": "fake", "finding": EntrySize, "run": run, **options})


async def test_small_experiments_decide_as_the_sources_let_expect() -> None:
    """On a kernel of 6.14 to 6.18; where a tool is missing the claim is untestable, not wrong."""
    outcomes: dict[type[Finding], Outcome] = {}
    await runner.run([BY_NAME[name] for name in QUICK], Log(), outcomes, slowness())
    assert len(outcomes) == len(QUICK)
    decided = results(ENTRIES, outcomes, Platform.of(describe()))
    assert [result.name for result in decided if result.failed] == []
    # Sizes are the host's, and may have been tuned.
    told = [result for result in decided if result.experiment != "conntrack-settings"]
    assert [result.name for result in told if result.surprising] == []
    measured = [result for result in told if result.figure]
    assert len(measured) >= 12


async def test_a_connection_holds_its_tuple_and_no_other() -> None:
    """The number of ports is exact."""
    outcome = await runner.measure(BY_NAME["usable-ports"])
    assert isinstance(outcome, Found)
    found: Any = outcome.finding
    assert (found.opened, found.wide_opened) == (100, 200)
    assert (found.other_port, found.other_address) == (100, 100)
    assert found.error == "EADDRNOTAVAIL"
    assert found.counters == {}


async def test_waits_run_beside_each_other_and_beside_the_rest() -> None:
    """Three that wait 0.4 s and two that take 0.2 s are over when the longest line is."""

    def wait(_: Ground) -> Finding:
        sleep(0.4)
        return SIZE

    def work(_: Ground) -> Finding:
        sleep(0.2)
        return SIZE

    log = Log()
    waits = [fake(wait, name=f"wait{number}", waits=True) for number in range(3)]
    works = [fake(work, name=f"work{number}") for number in range(2)]
    started = time.monotonic()
    await runner.run([*works, *waits], log, {})
    assert time.monotonic() - started < 1.4
    both = [line for line in log.lines if "work" in line]
    assert both == ["+work0", "-work0", "+work1", "-work1"]
    # All waits have begun before the first of them ended.
    ended = min(log.lines.index(f"-wait{number}") for number in range(3))
    assert all(log.lines.index(f"+wait{number}") < ended for number in range(3))


async def test_what_cannot_be_done_here_is_refused_with_its_reason() -> None:
    def lacks(_: Ground) -> Finding:
        raise UntestableError("no netem")

    outcome = await runner.measure(fake(lacks))
    assert isinstance(outcome, Refused)
    assert outcome.reason == "no netem"


async def test_what_goes_wrong_is_failed_and_no_finding() -> None:
    def breaks(_: Ground) -> Finding:
        raise ConnectionResetError(104, "Connection reset by peer")

    outcome = await runner.measure(fake(breaks))
    assert isinstance(outcome, Failed)
    assert "Connection reset by peer" in outcome.reason


async def test_an_experiment_that_does_not_end_is_given_up() -> None:
    def hangs(_: Ground) -> Finding:
        sleep(60)
        return SIZE

    with trio.fail_after(5):
        outcome = await runner.measure(fake(hangs, limit=0.2))
    assert isinstance(outcome, Failed)
    assert outcome.reason == "took longer than 0.2 s"


async def test_a_setting_that_this_kernel_does_not_have_is_refused() -> None:
    def sets(ground: Ground) -> Finding:
        assert ground.get("client", "net.ipv4.tcp_churnlab") is None
        assert not ground.accepts("client", "net.ipv4.tcp_tw_reuse", 3)
        assert ground.accepts("client", "net.ipv4.tcp_tw_reuse", 1)
        assert ground.get("client", "net.ipv4.tcp_tw_reuse") == "1"
        assert ground.get("server", "net.ipv4.tcp_tw_reuse") != "1"
        ground.set("client", {"net.ipv4.tcp_churnlab": 1})
        return SIZE

    outcome = await runner.measure(fake(sets))
    assert isinstance(outcome, Refused)
    assert "net.ipv4.tcp_churnlab" in outcome.reason


async def test_a_program_that_fails_tells_why() -> None:
    def runs(ground: Ground) -> Finding:
        client = ground.namespace("client")
        assert run_tool(client, ["ip", "-br", "link", "show", "lan"]).startswith("lan")
        run_tool(client, ["ip", "link", "show", "churnlab"])
        return SIZE

    outcome = await runner.measure(fake(runs))
    assert isinstance(outcome, Refused)
    assert outcome.reason.startswith("ip failed: ")
    assert "churnlab" in outcome.reason


@pytest.mark.parametrize("name", ["usable-ports", "packets", "conntrack-tracking"])
async def test_nothing_stays_open(name: str) -> None:
    def descriptors() -> set[str]:
        return {entry.name for entry in Path("/proc/self/fd").iterdir()}

    await runner.measure(BY_NAME["port-defaults"])  # what is opened once and kept
    before = descriptors()
    await runner.measure(BY_NAME[name])
    assert descriptors() == before


async def test_nothing_stays_open_when_it_is_cancelled() -> None:
    """In the middle of an experiment with sockets, counters and namespaces in its hands."""
    await runner.measure(BY_NAME["port-defaults"])
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - iterdir() would open one more
    log = Log()
    with trio.move_on_after(0.5) as scope:
        await runner.run([BY_NAME["reuse-modes"], BY_NAME["time-wait-lifetime"]], log, {})
    assert scope.cancelled_caught
    assert [line for line in log.lines if line.startswith("-")] == []
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above


async def test_the_hosts_settings_are_as_they_were() -> None:
    """Experiments set sysctls in their own namespaces only."""
    watched = [
        Path("/proc/sys/net", name)
        for name in ("ipv4/tcp_tw_reuse", "ipv4/ip_local_port_range", "ipv4/tcp_timestamps")
    ]
    before = [path.read_text() for path in watched]
    for name in ("reuse-settings", "usable-ports"):
        assert isinstance(await runner.measure(BY_NAME[name]), Found)
    assert [path.read_text() for path in watched] == before


async def test_without_netem_the_delay_is_refused_with_it_it_is_two_round_trips() -> None:
    """Whichever this kernel has."""
    outcome = await runner.measure(replace(BY_NAME["delayed"]))
    if isinstance(outcome, Refused):
        assert "netem" in outcome.reason
        return
    assert isinstance(outcome, Found)
    found: Any = outcome.finding
    assert found.rtt <= found.connect < 1.5 * found.rtt
    assert 2 * found.rtt <= found.reply < 2.5 * found.rtt


def test_each_claim_names_an_experiment_that_makes_its_finding() -> None:
    kinds = {entry.finding for entry in ENTRIES if isinstance(entry, Claim)}
    assert PortDefaults in kinds
    assert kinds == set(BY_FINDING)
