"""Which claims, which experiments, which results."""

import msgspec
import pytest

from lab.claims.catalogue import ENTRIES
from lab.claims.claim import Claim
from lab.claims.findings import Finding, Lifetimes, PortDefaults
from lab.claims.outcome import Failed, Found, Outcome, Refused
from lab.claims.records import Claims
from lab.claims.results import again, choose, experiments_for, results
from loadgen.summary import Environment
from tests.lab.claims.samples import OF, PLACE


def test_no_name_means_all() -> None:
    assert choose(()) == ENTRIES


def test_names_are_kept_in_the_articles_order() -> None:
    found = choose(("number-of-ports", "handshake-order"))
    assert [entry.name for entry in found] == ["handshake-order", "number-of-ports"]


def test_a_wrong_name_is_named_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="no claim 'handshake': did you mean handshake-order") as e:
        choose(("number-of-ports", "handshake"))
    assert "\n" not in str(e.value)


def test_an_experiment_runs_once_for_all_its_claims_and_waits_begin_first() -> None:
    wanted = experiments_for(ENTRIES)
    assert len({experiment.name for experiment in wanted}) == len(wanted)
    waits = [experiment.waits for experiment in wanted]
    assert waits == sorted(waits, reverse=True)
    two = choose(("time-wait-60s", "fin-timeout-shortens-time-wait"))
    assert [experiment.name for experiment in experiments_for(two)] == ["time-wait-lifetime"]
    assert experiments_for(choose(("lan-loses-nothing",))) == []


def test_each_outcome_becomes_a_result_and_what_is_not_over_none() -> None:
    entries = choose(
        ("default-port-range", "time-wait-60s", "handshake-order", "lan-loses-nothing",
         "more-ports-help")
    )  # fmt: skip
    by_name = {entry.name: entry for entry in entries}
    packets, ports = by_name["handshake-order"], by_name["more-ports-help"]
    assert isinstance(packets, Claim)
    assert isinstance(ports, Claim)
    found = results(
        entries,
        {
            PortDefaults: Found(OF[PortDefaults], 0.25),
            Lifetimes: Refused("no sockets", 0.5),
            packets.finding: Failed("OSError: x", 1.0),
        },
        PLACE,
    )
    assert {(one.name, one.verdict, one.experiment, one.seconds, one.failed) for one in found} == {
        ("handshake-order", "untestable_here", "packets", 1.0, True),
        ("time-wait-60s", "untestable_here", "time-wait-lifetime", 0.5, False),
        ("lan-loses-nothing", "untestable_here", "", 0.0, False),
        ("default-port-range", "refuted", "port-defaults", 0.25, False),
    }


def test_stored_results_are_read_with_todays_words_and_rules() -> None:
    """What was measured and why something was not stay; words and verdicts are the catalogue's."""
    outcomes: dict[type[Finding], Outcome] = {
        kind: Found(sample, 0.5) for kind, sample in OF.items()
    }
    outcomes[Lifetimes] = Failed("OSError: x", 1.0)
    outcomes[PortDefaults] = Refused("no range", 0.1)
    environment = Environment(kernel="6.18.1", memory_kib=int(23.5 * (1 << 20)))
    now = Claims(
        kernel="6.18.1",
        environment=environment,
        started_at="2026-01-02T03:04:05+00:00",
        seconds=60.0,
        finished=True,
        claims=results(ENTRIES, outcomes, PLACE),
    )
    old = [
        msgspec.structs.replace(result, says="in other words", paper="confirmed")
        for result in now.claims
    ]
    gone = msgspec.structs.replace(old[0], name="a-claim-that-is-no-more")
    other = msgspec.structs.replace(old[0], measured={"another": "finding"})
    stored = msgspec.structs.replace(now, claims=[gone, other, *old])
    kept = msgspec.json.decode(msgspec.json.encode(stored), type=Claims)
    assert again(kept) == now
