"""From outcomes of experiments to results of claims."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from lab.claims.catalogue import BY_NAME, ENTRIES, Entry
from lab.claims.claim import FAILED, BeyondTest, beyond, decide, not_measured
from lab.claims.expected import Platform
from lab.claims.experiments import BY_FINDING, ClaimExperiment
from lab.claims.findings import Finding
from lab.claims.outcome import Failed, Found, Outcome
from lab.claims.records import Claims, Result


def choose(names: Sequence[str]) -> tuple[Entry, ...]:
    """Return the named claims in the catalogue's order; all of them for no name.

    Raises:
        ValueError: for an unknown name, with the nearest known one.
    """
    for name in names:
        if name not in BY_NAME:
            close = difflib.get_close_matches(name, BY_NAME, n=1)
            guess = f"did you mean {close[0]}? " if close else ""
            raise ValueError(f"no claim {name!r}: {guess}`lab claims --list` names them all")
    return tuple(entry for entry in ENTRIES if not names or entry.name in names)


def experiments_for(entries: Iterable[Entry]) -> list[ClaimExperiment[Any]]:
    """Return the experiments that decide these claims, each once, those that wait first."""
    wanted = {entry.finding for entry in entries if not isinstance(entry, BeyondTest)}
    found = [experiment for kind, experiment in BY_FINDING.items() if kind in wanted]
    return sorted(found, key=lambda experiment: not experiment.waits)


def results(
    entries: Iterable[Entry], outcomes: Mapping[type[Finding], Outcome], place: Platform
) -> list[Result]:
    """Return a result for each claim whose experiment is over.

    Args:
        entries: of the catalogue.
        outcomes: by the type of what was measured.
        place: where it was.
    """
    decided = []
    for entry in entries:
        if isinstance(entry, BeyondTest):
            decided.append(beyond(entry))
            continue
        outcome = outcomes.get(entry.finding)
        if outcome is None:
            continue
        name = BY_FINDING[entry.finding].name
        if isinstance(outcome, Found):
            decided.append(
                decide(entry, outcome.finding, place, experiment=name, seconds=outcome.seconds)
            )
        else:
            decided.append(
                not_measured(
                    entry,
                    outcome.reason,
                    place,
                    experiment=name,
                    seconds=outcome.seconds,
                    failed=isinstance(outcome, Failed),
                )
            )
    return decided


def again(claims: Claims) -> Claims:
    """Return stored results as today's catalogue reads them: its words, its rules.

    What was measured stays as it was, as does the reason where nothing was. A claim that the
    catalogue does not have any more is left out, and so is one whose finding has other fields today.
    """
    place = Platform.of(claims.environment, claims.kernel)
    decided = [_again(stored, place) for stored in claims.claims]
    return msgspec.structs.replace(
        claims, claims=[result for result in decided if result is not None]
    )


def _again(stored: Result, place: Platform) -> Result | None:
    entry = BY_NAME.get(stored.name)
    if entry is None or isinstance(entry, BeyondTest):
        return None if entry is None else beyond(entry)
    if not stored.measured:
        reason = stored.reading.removeprefix(FAILED)
        return not_measured(
            entry,
            reason,
            place,
            experiment=stored.experiment,
            seconds=stored.seconds,
            failed=stored.failed,
        )
    try:
        finding = msgspec.convert({**stored.measured, "evidence": stored.evidence}, entry.finding)
    except msgspec.ValidationError:
        return None
    return decide(entry, finding, place, experiment=stored.experiment, seconds=stored.seconds)
