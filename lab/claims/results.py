"""From outcomes of experiments to results of claims."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lab.claims.catalogue import BY_NAME, ENTRIES, Entry
from lab.claims.claim import BeyondTest, beyond, judge, not_measured
from lab.claims.experiments import BY_FINDING, Experiment
from lab.claims.findings import Finding
from lab.claims.outcome import Failed, Found, Outcome
from lab.claims.records import Result


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


def experiments_for(entries: Iterable[Entry]) -> list[Experiment[Any]]:
    """Return the experiments that decide these claims, each once, those that wait first."""
    wanted = {entry.finding for entry in entries if not isinstance(entry, BeyondTest)}
    found = [experiment for kind, experiment in BY_FINDING.items() if kind in wanted]
    return sorted(found, key=lambda experiment: not experiment.waits)


def results(entries: Iterable[Entry], outcomes: Mapping[type[Finding], Outcome]) -> list[Result]:
    """Return a result for each claim whose experiment is over."""
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
            decided.append(judge(entry, outcome.finding, experiment=name, seconds=outcome.seconds))
        else:
            decided.append(
                not_measured(
                    entry,
                    outcome.reason,
                    experiment=name,
                    seconds=outcome.seconds,
                    failed=isinstance(outcome, Failed),
                )
            )
    return decided
