"""The entries themselves: complete, consistent, and readable whatever a rule decides."""

from typing import Any

import pytest

from lab.claims.catalogue import BY_NAME, ENTRIES
from lab.claims.claim import BeyondTest, Claim, beyond, decide, not_measured
from lab.claims.expected import predicted
from lab.claims.experiments import BY_FINDING
from tests.lab.claims.samples import OF, PLACE

CLAIMS: list[Claim[Any]] = [entry for entry in ENTRIES if isinstance(entry, Claim)]


def named(entry: Claim[Any] | BeyondTest) -> str:
    return entry.name


def test_names_are_unique() -> None:
    assert len(BY_NAME) == len(ENTRIES)


def test_every_sentence_of_the_list_is_there() -> None:
    assert {entry.row for entry in ENTRIES} == set(range(1, 28))


def test_every_experiment_serves_a_claim_and_every_claim_has_one() -> None:
    assert {claim.finding for claim in CLAIMS} == set(BY_FINDING)
    assert set(OF) == set(BY_FINDING)
    names = [experiment.name for experiment in BY_FINDING.values()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("claim", CLAIMS, ids=named)
def test_what_sources_let_expect_is_decided_and_read(claim: Claim[Any]) -> None:
    """On findings as Linux 6.18 gives them, each rule decides as the sources predict."""
    result = decide(claim, OF[claim.finding], PLACE, experiment="x", seconds=0.5)
    assert result.verdict == predicted(claim.paper, PLACE)
    assert not result.surprising
    assert result.reading == claim.readings[result.verdict]
    assert result.figure
    assert "evidence" not in result.measured
    assert result.evidence == OF[claim.finding].evidence


@pytest.mark.parametrize("claim", CLAIMS, ids=named)
def test_a_claim_can_come_out_either_way(claim: Claim[Any]) -> None:
    """And a condition is given exactly where an outcome needs one."""
    assert len(claim.readings) >= 2
    assert ("conditional" in claim.readings) == bool(claim.condition)
    assert claim.metric
    assert claim.expected
    assert not claim.says.endswith(".")


def test_a_claim_that_was_not_measured_is_untestable_here_and_says_why() -> None:
    claim = CLAIMS[0]
    refused = not_measured(claim, "no netem", PLACE, experiment="x", seconds=0, failed=False)
    assert (refused.verdict, refused.reading, refused.failed) == (
        "untestable_here", "no netem", False,
    )  # fmt: skip
    failed = not_measured(claim, "OSError: gone", PLACE, experiment="x", seconds=0, failed=True)
    assert failed.reading == "the experiment failed: OSError: gone"
    assert failed.failed
    assert not failed.surprising


def test_what_no_experiment_decides_says_why() -> None:
    outside = [entry for entry in ENTRIES if isinstance(entry, BeyondTest)]
    assert {entry.row for entry in outside} == {6, 18, 19}
    for entry in outside:
        result = beyond(entry)
        assert result.verdict == "untestable_here"
        assert result.reading == entry.reason
        assert result.experiment == ""
