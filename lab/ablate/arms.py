"""The arms of an ablation. Pure.

With n active lines there are none and all of them, n times all but one, and n times one alone:
2n + 2 tunings, fewer where two of these are the same (with two lines, "all but the first" is "the
second alone"). The same tuning is run once and serves both questions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from lab.ablate.records import ALL, NONE, TuningLine
from lab.analysis.stats import ALPHA, reachable
from lab.sysctl.tuning import Tuning, parse, to_text

LEAST_TRIALS = 6
"""From here on a median's interval covers 95 %."""


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Return a name for each key that is fit for a folder: its last part, where that is unique."""
    last = [key.rpartition(".")[2] for key in keys]
    return {
        key: re.sub(r"[^A-Za-z0-9_-]+", "-", key if last.count(end) > 1 else end)
        for key, end in zip(keys, last, strict=True)
    }


def plan_arms(
    keys: Sequence[str], weighed: Sequence[str] | None = None
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, str]]]:
    """Return the arms for active keys, and for each key the arm without it and the arm with it alone.

    Args:
        keys: of the lines that can do anything.
        weighed: those of them that are asked about; None for all.

    Returns:
        Keys by the arm's name, `none` first and `all` second; and the two names by key.
    """
    arms: dict[str, tuple[str, ...]] = {NONE: (), ALL: tuple(keys)}
    names = short_names(keys)

    def arm(chosen: tuple[str, ...], name: str) -> str:
        known = next((one for one, has in arms.items() if has == chosen), None)
        if known is None:
            arms[name] = chosen
        return known or name

    questions = {}
    for key in keys if weighed is None else weighed:
        rest = tuple(other for other in keys if other != key)
        alone = arm((key,), f"only-{names[key]}")
        questions[key] = (arm(rest, f"without-{names[key]}"), alone)
    return arms, questions


def tuning_of(tuning: Tuning, arm: str, keys: Iterable[str]) -> Tuning:
    """Return the tuning of an arm: the file itself for `all`, else its lines with these keys."""
    if arm == ALL:
        return tuning
    wanted = set(keys)
    settings = [replace(one, was="") for one in tuning.settings if one.key in wanted]
    header = f"{arm}: {len(settings)} of the lines of {tuning.name}"
    return parse(to_text(settings, header=header), name=arm, source=tuning.source)


def contrasts(lines: Iterable[TuningLine]) -> list[tuple[str, str]]:
    """Return what is compared with what, each pair of arms once: (arm, against)."""
    pairs = []
    for line in lines:
        if line.without is not None:
            pairs.append((line.without, ALL))
        if line.alone is not None:
            pairs.append((line.alone, NONE))
    return list(dict.fromkeys(pair for pair in pairs if pair[0] != pair[1]))


def trials_needed(comparisons: int, alpha: float = ALPHA) -> int:
    """Return the trials of each arm with which every one of so many contrasts can be decided.

    Holm's correction holds the first of m contrasts to alpha / m; the exact rank test of n against
    n trials cannot fall below 2 / C(2n, n).
    """
    trials = LEAST_TRIALS
    while not reachable(trials, trials, alpha / max(1, comparisons)):
        trials += 1
    return trials


def holm(values: Mapping[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    """Return p values corrected for their number (Holm, 1979).

    The k-th smallest of m is multiplied by m - k + 1, and none may be less than the one before.
    """
    adjusted: dict[tuple[str, str], float] = {}
    least = 0.0
    ordered = sorted(values.items(), key=lambda item: item[1])
    for rank, (pair, p) in enumerate(ordered):
        least = max(least, min(1.0, p * (len(ordered) - rank)))
        adjusted[pair] = least
    return adjusted
