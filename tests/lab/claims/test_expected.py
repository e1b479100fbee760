"""What is predicted for a claim, by kernel and by memory."""

from __future__ import annotations

from itertools import pairwise

import pytest

from lab.claims.catalogue import ENTRIES
from lab.claims.claim import Claim
from lab.claims.expected import KernelChange, Platform, predicted
from lab.claims.records import Verdict
from loadgen.summary import Environment

OLD, NEW = (5, 10), (6, 1)


@pytest.mark.parametrize(
    ("name", "version", "memory", "verdict"),
    [
        # Measured in guests of 4 GiB, and on a host of 24.
        ("conntrack-default-sizes", OLD, 3.8, "confirmed"),
        ("conntrack-default-sizes", OLD, 23.5, "refuted"),
        ("conntrack-default-sizes", OLD, 0.9, "refuted"),
        ("conntrack-default-sizes", NEW, 3.8, "refuted"),
        ("conntrack-ratio-4", OLD, 3.8, "confirmed"),
        ("conntrack-ratio-4", OLD, 23.5, "confirmed"),
        ("conntrack-ratio-4", (5, 14), 3.8, "confirmed"),
        ("conntrack-ratio-4", (5, 15), 3.8, "refuted"),
        ("conntrack-eightfold", OLD, 3.8, "confirmed"),
        ("conntrack-eightfold", OLD, 23.5, "confirmed"),
        ("conntrack-eightfold", NEW, 3.8, "confirmed"),
        ("conntrack-eightfold", (6, 18), 23.5, "refuted"),
        ("conntrack-eightfold", (7, 2), 3.8, "confirmed"),
        ("whole-range-at-speed", OLD, 3.8, "refuted"),
    ],
)
def test_by_kernel_and_memory(
    name: str, version: tuple[int, int], memory: float, verdict: Verdict
) -> None:
    (claim,) = (entry for entry in ENTRIES if entry.name == name)
    assert isinstance(claim, Claim)
    assert predicted(claim.paper, Platform(version, memory)) == verdict


@pytest.mark.parametrize(
    ("release", "version"),
    [("5.10.0-32-amd64", (5, 10)), ("6.18.44-fc", (6, 18)), ("7.2", (7, 2))],
)
def test_a_place_is_read_off_the_environment(release: str, version: tuple[int, int]) -> None:
    place = Platform.of(Environment(kernel=release, memory_kib=4 << 20))
    assert place == Platform(version, 4.0)


@pytest.mark.parametrize("environment", [Environment(), Environment(kernel="linux")])
def test_a_place_without_a_version_is_refused(environment: Environment) -> None:
    with pytest.raises(ValueError, match="does not begin with two numbers"):
        Platform.of(environment)


def test_a_change_names_release_and_source() -> None:
    told = str(KernelChange((5, 15), "the hash grew", "commit d532bcd0b269"))
    assert told == "since 5.15 the hash grew (commit d532bcd0b269)"


def test_whatever_hangs_on_the_version_says_what_changed_it() -> None:
    """A prediction that flips at a release lists the change of that release."""
    for claim in (entry for entry in ENTRIES if isinstance(entry, Claim)):
        for memory in (0.9, 3.8, 23.5):
            at = [
                (minor, predicted(claim.paper, Platform((5, minor), memory))) for minor in range(20)
            ]
            flips = {(5, minor) for (_, before), (minor, after) in pairwise(at) if before != after}
            assert flips <= {change.since for change in claim.changes}, claim.name
