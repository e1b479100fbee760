"""The verdict: what an experiment says, as one word and in words for a newcomer.

One test decides, and it was chosen before the first trial: the rank test on the lost share of the
trials of the two arms. All other metrics describe. The rules, first match wins:

    generator_limited  the generator could not keep up: an arm has no valid trial, or more spoiled
                       runs than valid ones, and who passed is then a selection
    inconclusive       no test of so few trials could reach the level; or the load itself differed
    not_exercised      nothing was lost in either arm, and no limit was reached: nothing was put to
                       the test
    hides              significantly less lost, but the successes after are not what they seem: they
                       rest on something given up (`lab.analysis.flattery`)
    prevents           significantly less lost, in (nearly) every trial before, none at all after
    reduces            significantly less lost, but not as cleanly as that
    worse              significantly more lost
    no_effect          no detectable difference in what was lost

`prevents` and `reduces` alone say that a tuning helps; they alone exit 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Final

import msgspec

from lab.analysis.flattery import Sign
from lab.analysis.records import VerdictName
from lab.analysis.stats import ALPHA, cliffs_delta, mann_whitney, reachable, trials_for_test
from lab.analysis.text import count, plural, probability, seconds, share
from loadgen.summary import Losses

FAILS: Final[frozenset[VerdictName]] = frozenset({"no_effect", "worse", "hides"})
"""Verdicts of an experiment that a pipeline takes for a failure: the tuning is to do something."""
REGRESSION: Final[frozenset[VerdictName]] = frozenset({"worse", "hides"})
"""The same of two stored results: the second is only not to be worse, and gates can ask for more."""
UNMEASURED: Final[frozenset[VerdictName]] = frozenset(
    {"not_exercised", "inconclusive", "generator_limited"}
)
"""Verdicts that say nothing of the tuning: never a finding, neither way."""

NEARLY_EVERY: Final = 0.9
"""Share of the trials before that must lose something for `prevents`."""

_MOST_NAMED: Final = 4

NOTHING_FAILED: Final = (
    "Nothing failed in either arm at this rate, and no limit was reached, so there was nothing to "
    "prevent and nothing was shown: raise --rate or --duration."
)
NOTHING_LOST: Final = "Nothing was lost in either, so the second is not worse than the first."


class Loss(Losses, msgspec.Struct, frozen=True):
    """What one valid trial lost."""

    scheduled: int
    failed: int
    dropped: int
    at: float | None = None
    """Seconds to the first failure or drop."""
    started_before: int | None = None
    """Attempts made before it."""

    @property
    def share(self) -> float:
        """Lost of scheduled, 0 to 1; 0 where nothing was due."""
        return self.lost_share or 0.0


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
    signs: tuple[Sign, ...] = ()
    """What its successes rest on, where they are not what they seem."""
    resets: bool = False
    """Its connections were closed by RST."""
    reached: tuple[str, ...] = ()
    """Titles of the limits that were reached without losing anyone."""

    @property
    def shares(self) -> list[float]:
        """The lost share of each valid trial."""
        return [loss.share for loss in self.losses]

    @property
    def losing(self) -> int:
        """Valid trials that lost anything at all."""
        return sum(1 for loss in self.losses if loss.lost)


def _what(losses: Sequence[Loss]) -> str:
    if not any(loss.failed for loss in losses):
        return "could not be started in time"
    if not any(loss.dropped for loss in losses):
        return "failed"
    return "failed or could not be started in time"


def _describe(arm: ArmFacts) -> str:
    """Return what happened in one arm, as the part of a sentence that follows `With X, `.

    Its numbers are medians, each the same as in the table of metrics.
    """
    trials = plural(len(arm.losses), "trial")
    if not arm.losing:
        served = sum(loss.scheduled for loss in arm.losses)
        return f"all {count(served)} connections of {trials} were served"
    losing = [loss for loss in arm.losses if loss.lost]
    if len(losing) == len(arm.losses) == 1:
        where = "in the one trial"
    elif len(losing) == len(arm.losses):
        where = f"in the median of {trials}"
    else:
        where = f"in the median of the {len(losing)} trials (of {len(arm.losses)}) that lost any"
    begin = ""
    moments = [loss.at for loss in losing if loss.at is not None]
    if moments:
        begin = f", beginning {seconds(median(moments))} into the run"
        made = [loss.started_before for loss in losing if loss.started_before is not None]
        if made and median(made):
            begin += f" after {count(median(made))} connections"
    why = f": {arm.causes[0].rstrip('.')}" if arm.causes else ""
    lost = count(median(loss.lost for loss in losing))
    due = count(median(loss.scheduled for loss in losing))
    part = share(median(loss.share for loss in losing))
    return f"{lost} of {due} connections ({part}) {_what(losing)} {where}{begin}{why}"


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


def _selected(before: ArmFacts, after: ArmFacts) -> tuple[VerdictName, str] | None:
    """Return the verdict of an experiment of which the generator spoiled the greater part."""
    for arm in (before, after):
        if arm.limited > len(arm.losses):
            runs = arm.limited + len(arm.losses)
            return "generator_limited", (
                f"The load generator was too often the limit: it spoiled {arm.limited} of the {runs} "
                f"runs of {_quoted(arm)}, and what those would have shown is not known. Lower "
                "--rate, or give the generator more CPUs."
            )
    return None


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


def verdict_of(
    before: ArmFacts,
    after: ArmFacts,
    *,
    alpha: float = ALPHA,
    differences: tuple[str, ...] = (),
    load: tuple[str, ...] = (),
    unexercised: tuple[str, ...] = (),
    claim: bool = True,
) -> tuple[VerdictName, str]:
    """Return the verdict and the sentence for it.

    Args:
        before: the arm without the tuning.
        after: the arm with it.
        alpha: the significance level of the one test.
        differences: names of what besides the tuning differs between the arms.
        load: those of them that decide how much was asked of the kernel: rate, duration or the
            like. With any, losses do not compare.
        unexercised: why this load puts less to the test than it seems, a clause each.
        claim: `after` is claimed to prevent something. False for two stored results, of
            which the second is only not to be worse: there nothing lost is good news.
    """
    found = _spoiled(before, after) or _selected(before, after) or _too_few(before, after, alpha)
    if found is not None:
        return found
    name, sentence = _compare(before, after, alpha, unexercised, claim=claim)
    reset_alone = name == "hides" and after.resets and not before.resets
    if load and not reset_alone:
        verb = "differs" if len(load) == 1 else "differ"
        return "inconclusive", (
            f"The load was not the same ({_named(load)} {verb}), so what was lost does not compare. "
            f"{_both(before, after)}"
        )
    if differences:
        others = (
            f"{differences[0]} differs too, and may be the reason"
            if len(differences) == 1
            else f"{_named(differences)} differ too, and any of them may be the reason"
        )
        sentence = f"Not the tuning alone: {others}. {sentence}"
    return name, sentence


def _named(names: tuple[str, ...]) -> str:
    """Return names for a sentence; of many only the first, for all are listed elsewhere."""
    rest = len(names) - _MOST_NAMED
    shown = ", ".join(names[:_MOST_NAMED] if rest > 0 else names)
    return f"{shown} and {plural(rest, 'other thing')}" if rest > 0 else shown


def _compare(
    before: ArmFacts,
    after: ArmFacts,
    alpha: float,
    unexercised: tuple[str, ...],
    *,
    claim: bool,
) -> tuple[VerdictName, str]:
    if not before.losing and not after.losing:
        return _nothing_lost(before, after, unexercised, claim=claim)
    p = mann_whitney(before.shares, after.shares)
    both = _both(before, after)
    if p > alpha:
        return "no_effect", (
            f"The tuning {_quoted(after)} makes no detectable difference (p = {probability(p)}). "
            f"{both}{_doubt(after)}"
        )
    if cliffs_delta(before.shares, after.shares) > 0:
        return "worse", f"The tuning {_quoted(after)} makes it worse. {both}{_doubt(before)}"
    hidden = [sign.text for sign in after.signs]
    if after.resets and not before.resets:
        hidden.append(
            "resets: its connections were closed by RST, which leaves no TIME_WAIT, and those of "
            f"{_quoted(before)} were not"
        )
    if hidden:
        return "hides", (
            f"The tuning {_quoted(after)} hides these failures and does not prevent them: its "
            f"successes rest on {'; and on '.join(hidden)}. {both}"
        )
    scope = (
        " Mind that every connection was closed by RST: this says nothing of a load that closes "
        "with FIN and holds its ports."
        if after.resets
        else ""
    )
    if not after.losing and before.losing >= NEARLY_EVERY * len(before.losses):
        return "prevents", f"The tuning {_quoted(after)} prevents these failures. {both}{scope}"
    return "reduces", f"The tuning {_quoted(after)} reduces these failures. {both}{scope}"


def _nothing_lost(
    before: ArmFacts, after: ArmFacts, unexercised: tuple[str, ...], *, claim: bool
) -> tuple[VerdictName, str]:
    """Return the verdict where neither arm lost anything."""
    if not claim:
        return "no_effect", f"{NOTHING_LOST}{_doubt(before)}{_doubt(after)}"
    met = [
        f"With {_quoted(arm)} a limit was reached that cost nobody a connection: "
        f"{arm.reached[0].rstrip('.')}."
        for arm in (before, after)
        if arm.reached
    ]
    if met:
        return "no_effect", (
            "Nothing failed in either arm at this rate, so there was nothing to prevent: raise "
            f"--rate or --duration. {' '.join(met)}"
        )
    why = f" Mind that {'; and '.join(unexercised)}." if unexercised else ""
    return "not_exercised", f"{NOTHING_FAILED}{why}"


def _doubt(arm: ArmFacts) -> str:
    """Return a sentence for an arm whose successes are not what they seem; empty for others."""
    if not arm.signs:
        return ""
    rest = "; and on ".join(sign.text for sign in arm.signs)
    return f" Mind that successes with {_quoted(arm)} rest on {rest}."
