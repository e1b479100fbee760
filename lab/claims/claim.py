"""What a claim is, and how a finding becomes a verdict. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

import msgspec

from lab.claims.expected import KernelChange, Paper, Platform, predicted
from lab.claims.findings import Finding
from lab.claims.records import Result, Verdict

F = TypeVar("F", bound=Finding)

FAILED: Final = "the experiment failed: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim(Generic[F]):
    """One sentence that an experiment decides."""

    name: str
    says: str
    """What the sentence means, as something that can be measured."""
    quote: str
    """The article's own words; empty for what is not in it but always goes with it."""
    row: int
    """Number in the list of the article's claims."""
    finding: type[F]
    """What is measured, and so by which experiment."""
    metric: str
    """What decides."""
    expected: str
    """What should be measured if the claim is true."""
    figure: Callable[[F], str]
    """What was measured, in a few words."""
    rule: Callable[[F], Verdict]
    readings: Mapping[Verdict, str]
    """What each outcome of the rule means to a reader who wonders whether to follow the advice."""
    condition: str = ""
    """When it holds; for the outcome `conditional`."""
    paper: Paper
    """The verdict that documentation and sources predict, for every kernel or for each."""
    changes: tuple[KernelChange, ...] = ()
    """What about this changed with a release of the kernel."""
    instead: str = ""
    """What to do; empty where the claim is no advice."""
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BeyondTest:
    """One sentence that no experiment of this lab decides, and why."""

    name: str
    says: str
    quote: str
    row: int
    reason: str
    instead: str = ""
    sources: tuple[str, ...] = field(default=())


def decide(
    claim: Claim[F], finding: F, place: Platform, *, experiment: str, seconds: float
) -> Result:
    """Return the result that a finding gives a claim.

    Args:
        claim: whose rule decides.
        finding: of the claim's type.
        place: where it was measured.
        experiment: the name of what measured it.
        seconds: how long that took.

    Raises:
        KeyError: when the rule's outcome has no reading: a fault of the catalogue.
    """
    verdict = claim.rule(finding)
    fields = msgspec.json.decode(msgspec.json.encode(finding))  # as programs will read it
    del fields["evidence"]
    return Result(
        name=claim.name,
        row=claim.row,
        says=claim.says,
        quote=claim.quote,
        verdict=verdict,
        condition=claim.condition if verdict == "conditional" else "",
        metric=claim.metric,
        expected=claim.expected,
        figure=claim.figure(finding),
        measured=fields,
        reading=claim.readings[verdict],
        instead=claim.instead,
        evidence=finding.evidence,
        sources=list(claim.sources),
        experiment=experiment,
        seconds=seconds,
        paper=predicted(claim.paper, place),
    )


def not_measured(
    claim: Claim[F], reason: str, place: Platform, *, experiment: str, seconds: float, failed: bool
) -> Result:
    """Return the result of a claim whose experiment could not be done, or went wrong."""
    return Result(
        name=claim.name,
        row=claim.row,
        says=claim.says,
        quote=claim.quote,
        verdict="untestable_here",
        metric=claim.metric,
        expected=claim.expected,
        reading=f"{FAILED}{reason}" if failed else reason,
        instead=claim.instead,
        sources=list(claim.sources),
        experiment=experiment,
        seconds=seconds,
        failed=failed,
        paper=predicted(claim.paper, place),
    )


def beyond(claim: BeyondTest) -> Result:
    """Return the result of a sentence that no experiment decides."""
    return Result(
        name=claim.name,
        row=claim.row,
        says=claim.says,
        quote=claim.quote,
        verdict="untestable_here",
        reading=claim.reason,
        instead=claim.instead,
        sources=list(claim.sources),
        paper="untestable_here",
    )
