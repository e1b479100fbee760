"""The verdict: what an experiment says, as one word and in words for somebody new to it.

One test decides, and it was chosen before the first trial: the rank test on the lost share of the
trials of the two arms. All other metrics describe. The rules, first match wins:

    generator_limited  an arm has no valid trial because the generator could not keep up
    inconclusive       no test of so few trials could reach the level; or the load itself differed
    prevents           significantly less lost, in (nearly) every trial before, none at all after
    reduces            significantly less lost, but not as cleanly as that
    worse              significantly more lost
    no_effect          no detectable difference in what was lost
"""

from __future__ import annotations

from typing import Final

import msgspec

from lab.records import VerdictName
from lab.stats import ALPHA, cliffs_delta, mann_whitney, reachable, trials_for_test
from lab.text import count, plural, probability, seconds, share

NEARLY_EVERY: Final = 0.9
"""Share of the trials before that must lose something for `prevents`."""

NOTHING_FAILED: Final = (
    "Nothing failed in either arm at this rate, so there was nothing to prevent: "
    "raise --rate or --duration."
)


class Loss(msgspec.Struct, frozen=True):
    """What one valid trial lost."""

    scheduled: int
    failed: int
    dropped: int
    at: float | None = None
    """Seconds to the first failure or drop."""
    started_before: int | None = None
    """Attempts made before it."""

    @property
    def lost(self) -> int:
        """Attempts that failed and arrivals that could not be started."""
        return self.failed + self.dropped

    @property
    def share(self) -> float:
        """Lost of scheduled, 0 to 1."""
        return self.lost / self.scheduled if self.scheduled else 0.0


class ArmFacts(msgspec.Struct, frozen=True):
    """All that the verdict needs of one arm."""

    tuning: str
    losses: tuple[Loss, ...]
    """Of the valid trials, in the order they ran."""
    limited: int = 0
    """Trials that the generator spoiled."""
    unusable: int = 0
    """Trials that are partial or have no readable summary."""
    causes: tuple[str, ...] = ()
    """Titles of the causes, the one that explains most connections first."""

    @property
    def shares(self) -> list[float]:
        """The lost share of each valid trial."""
        return [loss.share for loss in self.losses]

    @property
    def losing(self) -> int:
        """Valid trials that lost anything at all."""
        return sum(1 for loss in self.losses if loss.lost)


def typical(losses: tuple[Loss, ...]) -> Loss:
    """Return the trial in the middle by lost share: real numbers of one trial, not an average."""
    return sorted(losses, key=lambda loss: loss.share)[(len(losses) - 1) // 2]


def _what(loss: Loss) -> str:
    if not loss.failed:
        return "could not be started in time"
    return "failed" if not loss.dropped else "failed or could not be started in time"


def _describe(arm: ArmFacts, *, causes: bool = True) -> str:
    """Return what happened in one arm, as the part of a sentence that follows `With X, `."""
    trials = plural(len(arm.losses), "trial")
    if not arm.losing:
        served = sum(loss.scheduled for loss in arm.losses)
        return f"all {count(served)} connections of {trials} were served"
    losing = tuple(loss for loss in arm.losses if loss.lost)
    middle = typical(losing)
    if len(losing) == len(arm.losses) == 1:
        where = "in the one trial"
    elif len(losing) == len(arm.losses):
        where = f"in the median of {trials}"
    else:
        where = f"in the median of the {len(losing)} trials (of {len(arm.losses)}) that lost any"
    begin = ""
    if middle.at is not None:
        begin = f", beginning {seconds(middle.at)} into the run"
        if middle.started_before:
            begin += f" after {count(middle.started_before)} connections"
    why = f": {arm.causes[0].rstrip('.')}" if causes and arm.causes else ""
    return (
        f"{count(middle.lost)} of {count(middle.scheduled)} connections ({share(middle.share)}) "
        f"{_what(middle)} {where}{begin}{why}"
    )


def _quoted(arm: ArmFacts) -> str:
    return f"“{arm.tuning}”"


def _both(before: ArmFacts, after: ArmFacts) -> str:
    return (
        f"With {_quoted(before)}, {_describe(before)}. With {_quoted(after)}, {_describe(after)}."
    )


def _spoiled(before: ArmFacts, after: ArmFacts) -> tuple[VerdictName, str] | None:
    """Return the verdict of an experiment in which an arm has no valid trial at all."""
    empty = [arm for arm in (before, after) if not arm.losses]
    if not empty:
        return None
    limited = [arm for arm in empty if arm.limited]
    if limited:
        names = " and ".join(map(_quoted, limited))
        return "generator_limited", (
            f"The load generator was the limit, not the kernel: no trial of {names} is valid, so "
            "nothing can be said about the tuning. Lower --rate, or give the generator more CPUs."
        )
    names = " and ".join(map(_quoted, empty))
    return "inconclusive", (
        f"There is no complete trial of {names} to compare, so nothing can be said about the "
        "tuning. Run the experiment again."
    )


def _too_few(before: ArmFacts, after: ArmFacts, alpha: float) -> tuple[VerdictName, str] | None:
    """Return the verdict of an experiment too small for its own test, or None."""
    sizes = len(before.losses), len(after.losses)
    if reachable(*sizes, alpha):
        return None
    need = trials_for_test(alpha)
    spoiled = before.limited + after.limited
    why = (
        f"; {plural(spoiled, 'run')} did not count, because the generator could not keep up: a "
        "lower --rate or an idle machine helps"
        if spoiled
        else ""
    )
    return "inconclusive", (
        f"Too few trials to tell chance from effect: {sizes[0]} before and {sizes[1]} after, "
        f"at least {need} of each are needed (--trials {need}){why}. "
        f"So far: {_both(before, after)}"
    )


def judge(
    before: ArmFacts,
    after: ArmFacts,
    *,
    alpha: float = ALPHA,
    differences: tuple[str, ...] = (),
    same_load: bool = True,
) -> tuple[VerdictName, str]:
    """Return the verdict and the sentence for it.

    Args:
        before: the arm without the tuning.
        after: the arm with it.
        alpha: the significance level of the one test.
        differences: names of what besides the tuning differs between the arms.
        same_load: False when rate, duration or the like differ, so that losses do not compare.
    """
    found = _spoiled(before, after) or _too_few(before, after, alpha)
    if found is not None:
        return found
    if not same_load:
        return "inconclusive", (
            f"The load was not the same ({', '.join(differences)} differ), so what was lost does "
            f"not compare. {_both(before, after)}"
        )
    name, sentence = _compare(before, after, alpha)
    if differences:
        sentence = (
            f"Not the tuning alone: {', '.join(differences)} differ too, and any of them may be "
            f"the reason. {sentence}"
        )
    return name, sentence


def _compare(before: ArmFacts, after: ArmFacts, alpha: float) -> tuple[VerdictName, str]:
    if not before.losing and not after.losing:
        return "no_effect", NOTHING_FAILED
    p = mann_whitney(before.shares, after.shares)
    both = _both(before, after)
    if p > alpha:
        return "no_effect", (
            f"The tuning {_quoted(after)} makes no detectable difference (p = {probability(p)}). {both}"
        )
    if cliffs_delta(before.shares, after.shares) > 0:
        return "worse", f"The tuning {_quoted(after)} makes it worse. {both}"
    if not after.losing and before.losing >= NEARLY_EVERY * len(before.losses):
        return "prevents", f"The tuning {_quoted(after)} prevents these failures. {both}"
    return "reduces", f"The tuning {_quoted(after)} reduces these failures. {both}"
