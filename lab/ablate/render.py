"""An ablation as a sheet: the weight of each line, and the arms that it rests on. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from lab.ablate.records import ABLATION, Ablation, ArmOutcome, LineRole, Weight
from lab.ablate.weigh import lost_share
from lab.analysis import text
from lab.analysis.records import Estimate
from lab.report.dotplot import Axis, Kind, Mark, PlotRow, draw
from lab.report.sheet import Plot, Section, Sheet, Table
from lab.report.view import LABELS
from loadgen.summary import Environment, Summary
from loadgen.units import format_duration

PLOT: Final = "ablation.svg"
_MOST: Final = 8
"""Lines of a list beyond which the rest is only counted."""

WORDS: Final[dict[LineRole, str]] = {
    "does_the_work": "does the work",
    "needed": "needed",
    "enough": "enough alone",
    "helps": "helps alone",
    "hides": "hides the failures",
    "no_effect": "no detectable effect",
    "harmful": "makes it worse",
    "mixed": "helps and harms",
    "inconclusive": "not decided",
    "idle": "does nothing at this load",
    "inert": "changes nothing here",
    "out_of_scope": "out of scope here",
}
Trials = Mapping[str, Iterable[Summary]]
"""The summaries that count, by arm."""


def _estimate(found: Estimate | None, unit: str) -> str:
    if found is None:
        return text.NOTHING
    spread = text.interval(found, unit)
    return f"{text.quantity(found.median, unit)}{f' ({spread})' if spread else ''}"


def _capacity(value: float | None, arm: ArmOutcome) -> str:
    if value is None:
        return "any" if arm.forecast else text.NOTHING
    return f"{text.count(value)}/s"


def _lost(found: Ablation, name: str | None) -> str:
    arm = next((one for one in found.arms if one.name == name), None)
    return text.NOTHING if arm is None or arm.lost is None else text.share(arm.lost.median)


def _weights(found: Ablation) -> Table:
    rows = tuple(
        (
            f"{_short(weight)} = {weight.line.value}",
            WORDS[weight.role],
            _lost(found, weight.line.without),
            text.probability(weight.without.adjusted) if weight.without else text.NOTHING,
            _lost(found, weight.line.alone),
            text.probability(weight.alone.adjusted) if weight.alone else text.NOTHING,
        )
        for weight in found.weights
    )
    return Table(
        header=("line", "verdict", "lost without it", "p", "lost with it alone", "p"),
        rows=rows,
        numbers=frozenset({2, 3, 4, 5}),
    )


def _span(found: Ablation) -> str:
    return "so long" if found.duration is None else format_duration(found.duration)


def _arms(found: Ablation) -> Table:
    rows = tuple(
        (
            arm.name,
            f"{arm.trials}" + (f" ({arm.limited} spoiled)" if arm.limited else ""),
            _estimate(arm.lost, "share"),
            _estimate(arm.achieved, "/s"),
            text.NOTHING
            if not arm.trials
            else ("never" if arm.first_loss is None else text.seconds(arm.first_loss.median)),
            _capacity(arm.predicted, arm),
            _capacity(arm.predicted_for_good, arm),
        )
        for arm in found.arms
    )
    return Table(
        header=("arm", "trials", "lost", "served per second", "first loss",
                f"predicted capacity, {_span(found)}", "indefinitely"),
        rows=rows,
        numbers=frozenset({1, 2, 3, 4, 5, 6}),
    )  # fmt: skip


def _plot(found: Ablation, trials: Trials) -> Plot | None:
    rows = []
    for arm in found.arms:
        shares = [lost_share(summary) for summary in trials.get(arm.name, ())]
        if not shares:
            continue
        marks = [
            Mark(share, "bad" if share else "good", f"{text.share(share)} lost") for share in shares
        ]
        if arm.lost is not None:
            marks.append(Mark(arm.lost.median, "middle", f"median {text.share(arm.lost.median)}"))
        rows.append(
            PlotRow(
                label=arm.name,
                note=f"median {text.share(arm.lost.median)}" if arm.lost else "",
                marks=tuple(marks),
                span=arm.lost.ci if arm.lost and arm.lost.ci[0] != arm.lost.ci[1] else None,
            )
        )
    if not rows:
        return None
    axis = Axis(
        title="share of the connections that a trial lost", low=0.0, high=1.0, form="{:.0%}".format
    )
    says = "connections lost in each trial of each arm, with the median and its interval"
    legend: list[tuple[Kind, str]] = [
        ("good", "nothing lost"),
        ("bad", "connections lost"),
        ("middle", "median"),
    ]
    return Plot(svg=draw(rows, axis, title=says, legend=legend), file=PLOT, says=says)


def summary_line(found: Ablation) -> str:
    """Return which lines matter at this load, in a sentence or two."""
    rate = "" if found.rate is None else f"At {text.count(found.rate)}/s, of {found.tuning}: "
    groups: list[str] = []
    for role in WORDS:
        named = [_short(weight) for weight in found.weights if weight.role == role]
        if named:
            groups.append(f"{' and '.join(named)} {_verb(role, len(named))}")
    return f"{rate}{'; '.join(groups)}." if groups else ""


def _short(weight: Weight) -> str:
    return weight.line.key.rpartition(".")[2]


def _verb(role: LineRole, number: int) -> str:
    plural = number > 1
    return {
        "does_the_work": "do the work" if plural else "does the work: needed, and enough alone",
        "needed": "are needed" if plural else "is needed",
        "enough": "are each enough alone" if plural else "is enough alone",
        "helps": "help alone, and are not enough" if plural else "helps alone, and is not enough",
        "hides": "hide the failures and do not prevent them"
        if plural
        else "hides the failures and does not prevent them",
        "no_effect": "have no detectable effect" if plural else "has no detectable effect",
        "harmful": "make it worse" if plural else "makes it worse",
        "mixed": "help and harm" if plural else "helps and harms",
        "inconclusive": "could not be decided",
        "idle": "do nothing at this load" if plural else "does nothing at this load",
        "inert": "change nothing here" if plural else "changes nothing here",
        "out_of_scope": "are out of scope here" if plural else "is out of scope here",
    }[role]


def ablation_sheet(found: Ablation, trials: Trials, environment: Environment) -> Sheet:
    """Return an ablation as a sheet.

    Args:
        found: its result.
        trials: the summaries that count, by arm, for the plot.
        environment: where it ran.
    """
    tone, sign, words = LABELS[found.verdict]
    sentence = " ".join(filter(None, (found.sentence, summary_line(found))))
    if not found.finished:
        sentence = f"Interrupted. {sentence}"
    facts = [
        ("Load", "none" if found.rate is None else f"{text.count(found.rate)}/s"),
        ("For", text.NOTHING if found.duration is None else _span(found)),
        ("Kernel", text.kernel(environment)),
        ("Started", text.moment(found.started_at)),
    ]
    about = (
        "Each line is left out of the whole, and tried alone. Trials of all arms are interleaved, "
        "each in fresh namespaces; what is compared is the share of connections that a trial loses "
        "(exact rank test, corrected for the number of comparisons by Holm's method)."
    )
    arms = (
        "Median over the trials, with its confidence interval where there is a spread. The last two "
        "columns are the capacity model's: the highest rate without a loss, for a load so long and "
        "for one that never ends."
    )
    return Sheet(
        title=f"{found.tuning}, line by line",
        kind="which line of a tuning does the work",
        tone="warn" if tone == "calm" else tone,
        sign=sign,
        words=words,
        sentence=sentence,
        started_at=found.started_at,
        facts=tuple(facts),
        sections=(
            Section(
                title="Lines",
                about=about,
                table=_weights(found),
                lines=tuple(f"{weight.line.key}: {weight.says}" for weight in found.weights),
            ),
            Section(title="Arms", about=arms, plot=_plot(found, trials), table=_arms(found)),
            *_notes(found),
        ),
    )


def _notes(found: Ablation) -> list[Section]:
    parts = (
        ("Warnings", found.warnings),
        ("Missing", found.missing),
        ("Run again", found.repetitions),
    )
    return [Section(title=title, lines=_first(lines)) for title, lines in parts if lines]


def _first(lines: Sequence[str]) -> tuple[str, ...]:
    if len(lines) <= _MOST:
        return tuple(lines)
    return (*lines[:_MOST], f"and {len(lines) - _MOST} more, in {ABLATION}")
