"""From the trials of an ablation to the weight of each line. Pure.

Two questions are asked of a line, each by the rank test of `lab run` on the share of connections
that a trial loses: does more go wrong without it (all but this one, against all), and does less go
wrong with it alone (this one, against none)? The answers together:

    without it worse   alone better, nothing lost   does_the_work
    without it worse   alone at most better         needed
    no difference      alone better, nothing lost   enough
    no difference      alone better                 helps
    no difference      no difference                no_effect
    less is lost without it, or more with it        harmful (mixed where the other answer is good)
    one of the first four, by giving something up   hides (`lab.analysis.flattery`)

Many tests find something by chance, so p is corrected for their number (Holm).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import median

from lab.ablate.arms import contrasts, holm, trials_needed
from lab.ablate.records import (
    ALL,
    NONE,
    Ablation,
    ArmOutcome,
    Contrast,
    LineRole,
    TuningLine,
    TuningLines,
    Weight,
)
from lab.analysis import text
from lab.analysis.compare import ArmTrials, estimate, facts, repetitions, sort_trials
from lab.analysis.flattery import signs, unexercised
from lab.analysis.predictions import situation_of
from lab.analysis.records import Experiment
from lab.analysis.stats import ALPHA, cliffs_delta, mann_whitney, reachable
from lab.analysis.verdict import verdict_of
from lab.capacity import CapacityError, Situation, forecast
from lab.sysctl.values import integers
from loadgen.report.rows import ranked_causes
from loadgen.sample import ROLE_SERVER
from loadgen.summary import Summary

_GOOD = frozenset({"does_the_work", "needed", "enough", "helps"})
_ENTRIES = "nf_conntrack_entries"
_MOST_KEY = "net.netfilter.nf_conntrack_max"
_BUCKETS_KEY = "net.netfilter.nf_conntrack_buckets"


def lost_share(summary: Summary) -> float:
    """Return the share of the arrivals that a trial lost, 0 to 1."""
    return summary.lost_share or 0.0


def _situation(
    experiment: Experiment, arm: str, summaries: Mapping[str, Summary | None]
) -> Situation | None:
    """Return the situation that an arm's trials were in; a spoiled one tells it as well."""
    for trial in experiment.trials:
        summary = summaries.get(trial.directory)
        if trial.arm != arm or summary is None:
            continue
        try:
            return situation_of(summary, trial.sysctls, seen=experiment.environment.behaviour)
        except (CapacityError, ValueError):
            # A setting that no model of today knows; the arm goes without its forecast.
            return None
    return None


def _spoiled(
    experiment: Experiment, arm: str, summaries: Mapping[str, Summary | None]
) -> list[float]:
    """Return what the trials of an arm that the generator spoiled served per second."""
    found = [summaries.get(one.directory) for one in experiment.trials if one.arm == arm]
    return [
        summary.rate.achieved
        for summary in found
        if summary is not None and summary.validity == "generator_limited"
    ]


def _outcome(
    lines: TuningLines, trials: ArmTrials, spoiled: list[float], situation: Situation | None
) -> ArmOutcome:
    """Return the results of one arm's trials, with the model's forecast for it."""
    summaries = trials.summaries
    lost = [lost_share(summary) for summary in summaries]
    first = [s.first_failure_at for s in summaries if s.first_failure_at is not None]
    entries = [
        int(found.max)
        for summary in summaries
        if (found := summary.kernel.get(ROLE_SERVER, {}).get(_ENTRIES)) is not None
    ]
    causes = ranked_causes(summaries)
    return ArmOutcome(
        name=trials.name,
        keys=lines.arms.get(trials.name, []),
        trials=len(summaries),
        limited=trials.limited,
        spoiled_rate=median(spoiled) if spoiled else None,
        losing=sum(1 for share in lost if share),
        lost=estimate(lost),
        achieved=estimate([summary.rate.achieved for summary in summaries]),
        first_loss=estimate(first),
        cause=causes[0][0].title if causes else "",
        forecast=situation is not None,
        predicted=_capacity(situation),
        predicted_for_good=_capacity(
            situation and replace(situation, load=replace(situation.load, duration=None))
        ),
        entries=max(entries) if lines.tracked and entries else None,
    )


def _capacity(situation: Situation | None) -> float | None:
    return None if situation is None else forecast(situation).sustainable_rate


def _contrast_all(
    lines: TuningLines, arms: Mapping[str, ArmTrials], alpha: float
) -> dict[tuple[str, str], Contrast]:
    """Return every contrast of which both arms have trials."""
    values, effects = {}, {}
    for pair in contrasts(lines.lines):
        sides = [[lost_share(s) for s in arms[name].summaries] for name in pair if name in arms]
        if len(sides) == 2 and all(sides):
            first, second = sides
            values[pair] = mann_whitney(second, first)
            effects[pair] = cliffs_delta(second, first)
    corrected = holm(values)
    return {
        (arm, against): Contrast(
            arm=arm,
            against=against,
            p=p,
            adjusted=corrected[arm, against],
            effect=effects[arm, against],
            significant=corrected[arm, against] <= alpha,
        )
        for (arm, against), p in values.items()
    }


def role_of(without: Contrast | None, alone: Contrast | None, *, alone_is_clean: bool) -> LineRole:
    """Return what a line is worth, from the answers to both questions.

    Args:
        without: all lines but this one, against all; None where it could not be tried.
        alone: this line only, against none; None likewise.
        alone_is_clean: whether no trial with this line alone lost anything.
    """
    if without is None and alone is None:
        return "inconclusive"
    missed = without is not None and without.significant and without.effect > 0
    better = alone is not None and alone.significant and alone.effect < 0
    worse = any(
        found is not None and found.significant and found.effect * sign > 0
        for found, sign in ((without, -1), (alone, 1))
    )
    if worse:
        return "mixed" if missed or better else "harmful"
    if missed:
        return "does_the_work" if better and alone_is_clean else "needed"
    if better:
        return "enough" if alone_is_clean else "helps"
    return "no_effect"


def _decidable(
    asked: tuple[Contrast | None, ...],
    arms: Mapping[str, ArmOutcome],
    comparisons: int,
    alpha: float,
) -> bool:
    """Whether the trials were many enough for the tests to find anything."""
    return any(
        contrast is not None
        and reachable(arms[contrast.arm].trials, arms[contrast.against].trials, alpha / comparisons)
        for contrast in asked
    )


def _loses(outcome: ArmOutcome | None) -> str:
    """Return what is lost in an arm, and when first: the part of a sentence after its name."""
    if outcome is None or outcome.lost is None:
        if outcome is None or outcome.spoiled_rate is None:
            return "not measured"
        return (
            f"not measured ({text.plural(outcome.limited, 'trial')} spoiled by the generator; they "
            f"served {text.count(outcome.spoiled_rate)}/s in the median, which counts for nothing)"
        )
    if not outcome.losing:
        return "nothing lost"
    when = ""
    if outcome.first_loss is not None:
        when = f", the first after {text.seconds(outcome.first_loss.median)}"
    return f"{text.share(outcome.lost.median)} lost{when}"


def _p(contrast: Contrast | None) -> str:
    return "" if contrast is None else f" (p = {text.probability(contrast.adjusted)})"


def _says(
    line: TuningLine, arms: Mapping[str, ArmOutcome], weight: tuple[Contrast | None, ...]
) -> str:
    """Return the evidence for an active line: what is lost with all, without it, alone, with none."""
    parts = []
    if line.without is not None:
        without, whole = _loses(arms.get(line.without)), _loses(arms.get(ALL))
        parts.append(f"without it {without}, with all lines {whole}{_p(weight[0])}")
    if line.alone is not None:
        alone, none = _loses(arms.get(line.alone)), _loses(arms.get(NONE))
        parts.append(f"alone {alone}, with no line {none}{_p(weight[1])}")
    if line.unfit:
        parts.append(f"another line needs it: {line.unfit}")
    return "; ".join(parts) or "not measured"


def _role_of_state(line: TuningLine) -> LineRole:
    return "inert" if line.state == "inert" else "out_of_scope"


def _idle(
    line: TuningLine, arms: Mapping[str, ArmOutcome], limits: Mapping[str, str]
) -> tuple[LineRole, str]:
    """Return role and evidence of a line that cannot act here.

    What the conntrack table held in the trials tells whether another size of it could have changed
    anything.
    """
    peak = max(
        (found.entries for found in arms.values() if found.entries is not None), default=None
    )
    most, buckets = (integers(limits.get(key, "")) for key in (_MOST_KEY, _BUCKETS_KEY))
    wanted = integers(line.value)
    if peak is not None and line.key == _MOST_KEY and most is not None and peak < most[0]:
        return "idle", (
            f"the table held at most {text.count(peak)} of its {text.count(most[0])} entries, so a "
            f"larger limit changes nothing; {line.reason}"
        )
    if peak is not None and line.key == _BUCKETS_KEY and buckets and wanted and wanted[0] > 0:
        # Each entry is in the table twice: once for each direction.
        now, then = 2 * peak / buckets[0], 2 * peak / wanted[0]
        return "idle" if max(now, then) <= 1 else _role_of_state(line), (
            f"with at most {text.count(peak)} entries a bucket holds {text.significant(now, 2)} "
            f"nodes, and {text.significant(then, 2)} with {text.count(wanted[0])} buckets; "
            f"{line.reason}"
        )
    return _role_of_state(line), line.reason


def weigh(
    experiment: Experiment,
    lines: TuningLines,
    summaries: Mapping[str, Summary | None],
    missing: list[str],
    alpha: float = ALPHA,
) -> Ablation:
    """Return what an ablation found out.

    Args:
        experiment: its record.
        lines: what was to be weighed.
        summaries: by the trial's directory; None where there is none to read.
        missing: what could not be read.
        alpha: the significance level.
    """
    trials = {arm: sort_trials(experiment, summaries, arm) for arm in lines.arms}
    outcomes = {
        arm: _outcome(
            lines,
            found,
            _spoiled(experiment, arm, summaries),
            _situation(experiment, arm, summaries),
        )
        for arm, found in trials.items()
    }
    found = _contrast_all(lines, trials, alpha)
    limits = next(
        (t.sysctls[ROLE_SERVER] for t in experiment.trials if ROLE_SERVER in t.sysctls), {}
    )
    weights = []
    for line in lines.lines:
        if not line.asked:
            continue
        if line.state != "active":
            role, says = _idle(line, outcomes, limits)
            weights.append(Weight(line=line, role=role, without=None, alone=None, says=says))
            continue
        without = found.get((line.without or "", ALL))
        alone = found.get((line.alone or "", NONE))
        clean = line.alone is not None and line.alone in outcomes
        clean = clean and not outcomes[line.alone or ""].losing
        role = role_of(without, alone, alone_is_clean=clean)
        if role == "no_effect" and not _decidable((without, alone), outcomes, len(found), alpha):
            role = "inconclusive"
        if line.unfit and role in {"no_effect", "inconclusive"}:
            role = "needed"
        if role in _GOOD and _hides(line, trials):
            role = "hides"
        says = _says(line, outcomes, (without, alone))
        weights.append(Weight(line=line, role=role, without=without, alone=alone, says=says))
    verdict, sentence = verdict_of(
        facts(_named(trials[NONE], "kernel-default")),
        facts(_named(trials[ALL], lines.tuning)),
        alpha=alpha,
        unexercised=unexercised([*trials[NONE].summaries, *trials[ALL].summaries]),
    )
    return Ablation(
        name=experiment.name,
        tuning=lines.tuning,
        started_at=experiment.started_at,
        finished=experiment.finished,
        rate=experiment.config.rate,
        duration=experiment.config.duration,
        verdict=verdict,
        sentence=sentence,
        alpha=alpha,
        arms=list(outcomes.values()),
        weights=weights,
        warnings=[*lines.notes, *_warnings(lines, outcomes, alpha)],
        repetitions=repetitions(experiment, summaries),
        missing=missing,
    )


def _hides(line: TuningLine, trials: Mapping[str, ArmTrials]) -> bool:
    """Whether what a line gains rests on something given up (`lab.analysis.flattery`)."""

    def doubtful(arm: str | None) -> frozenset[str]:
        known = trials.get(arm or "")
        return frozenset(sign.name for sign in signs(known.summaries if known else ()))

    return bool(
        doubtful(line.alone) - doubtful(NONE)
        or (line.without is not None and doubtful(ALL) - doubtful(line.without))
    )


def _named(trials: ArmTrials, tuning: str) -> ArmTrials:
    """Return the trials of an arm under the name that its tuning has in sentences."""
    return ArmTrials(trials.name, tuning, trials.summaries, trials.limited, trials.unusable)


def _warnings(lines: TuningLines, outcomes: Mapping[str, ArmOutcome], alpha: float) -> list[str]:
    pairs = contrasts(lines.lines)
    open_pairs = [
        (arm, against)
        for arm, against in pairs
        if not reachable(outcomes[arm].trials, outcomes[against].trials, alpha / len(pairs))
    ]
    if not open_pairs:
        return []
    fewest = min(outcomes[arm].trials for pair in open_pairs for arm in pair)
    need = trials_needed(len(pairs), alpha)
    return [
        f"{len(open_pairs)} of {text.plural(len(pairs), 'comparison')} could not be decided: need >= "
        f"{need} trials of each arm, and the smallest has {fewest}"
    ]
