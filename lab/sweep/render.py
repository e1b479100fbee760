"""A sweep and a validation as sheets: what was predicted, what was measured, how far apart. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from lab.analysis import text
from lab.capacity import LIMITS
from lab.report.dotplot import Axis, Kind, Mark, PlotRow, draw
from lab.report.sheet import Plot, Section, Sheet, Table
from lab.report.view import Look
from lab.sweep.records import Capacity, Sweep, ValidatedFigure, Validation
from lab.sweep.search import TrialEnd
from loadgen.summary import Environment
from loadgen.units import format_duration

SWEEP_PLOT: Final = "sweep.svg"
VALIDATION_PLOT: Final = "validation.svg"
_KINDS: Final[dict[TrialEnd, Kind]] = {
    TrialEnd.CLEAN: "good",
    TrialEnd.LOST: "bad",
    TrialEnd.LIMITED: "unsure",
}
_WIDEST: Final = 0.08
"""Error beyond which the plot's axis does not go."""


# --- a sweep ------------------------------------------------------------------------------------


def bracket(found: Capacity) -> str:
    """Return the measured capacity in words: `4,640 to 4,870/s`, `at least 8,800/s`."""
    if found.low is None:
        return "none" if found.high is None else f"below {text.count(found.high)}/s"
    if found.at_least or found.high is None:
        return f"at least {text.count(found.low)}/s"
    return f"{text.count(found.low)} to {text.count(found.high)}/s"


def _agreement(found: Capacity) -> str:
    if found.agrees is None:
        return "not tested"
    if not found.agrees:
        return "no"
    return "yes" if found.measured is not None else "as far as tested"


def _evidence(found: Capacity) -> str:
    """Return what a measured capacity rests on."""
    if found.low is None and found.high is None:
        return f"{found.tuning}: no rate could be made here"
    parts = []
    if found.low is not None:
        parts.append(
            f"nothing lost in {text.plural(found.clean, 'trial')} at {text.count(found.low)}/s"
        )
    if found.at_least or found.high is None:
        parts.append("above, the generator or this machine was the limit")
        return f"{found.tuning}: {'; '.join(parts)}"
    parts.append(
        f"something lost in {found.lost} of {text.plural(found.tried_high, 'trial')} at "
        f"{text.count(found.high)}/s"
    )
    chance = "" if found.p is None else f" (p = {text.probability(found.p)})"
    why = f": {found.cause}" if found.cause else ""
    return f"{found.tuning}: {'; '.join(parts)}{chance}{why}"


def _predicted(rate: float | None) -> str:
    return "any" if rate is None else f"{text.count(rate)}/s"


def _capacities(sweep: Sweep) -> Table:
    rows = [
        (
            found.tuning,
            _predicted(found.predicted),
            bracket(found),
            _agreement(found),
            LIMITS[found.bound_by].broken if found.bound_by else text.NOTHING,
            _predicted(found.for_good),
        )
        for found in sweep.capacities
    ]
    return Table(
        header=(
            "tuning", f"predicted, {_span(sweep)}", "measured", "agrees", "expected to break",
            "predicted, indefinitely",
        ),
        rows=tuple(rows),
        numbers=frozenset({1, 2, 5}),
    )  # fmt: skip


def _span(sweep: Sweep) -> str:
    return format_duration(sweep.config.duration)


def _plot(sweep: Sweep) -> Plot | None:
    rates = [probe.rate for found in sweep.capacities for probe in found.probes]
    rates += [found.predicted for found in sweep.capacities if found.predicted]
    if not rates:
        return None
    ceiling = sweep.closed_loop_rate
    rates += [ceiling] if ceiling else []
    rows = []
    for found in sweep.capacities:
        marks = [
            Mark(
                probe.rate,
                _KINDS[probe.ended],
                f"{text.count(probe.rate)}/s: {probe.ended}{f', {probe.why}' if probe.why else ''}",
            )
            for probe in found.probes
        ]
        if found.predicted:
            marks.append(
                Mark(found.predicted, "expected", f"predicted: {_predicted(found.predicted)}")
            )
        closed = found.low is not None and found.high is not None and not found.at_least
        rows.append(
            PlotRow(
                label=found.tuning,
                note=bracket(found),
                marks=tuple(marks),
                span=(found.low or 0, found.high or 0) if closed else None,
            )
        )
    axis = Axis(
        title="connections per second, logarithmic",
        low=min(rates) * 0.8,
        high=max(rates) * 1.2,
        log=True,
        form=lambda rate: text.count(rate) if rate >= 1 else f"{rate:g}",
        lines=((ceiling, "this machine's closed loop"),) if ceiling else (),
    )
    says = "measured capacity of each tuning, trial by trial, beside the prediction"
    legend: list[tuple[Kind, str]] = [
        ("good", "nothing lost"),
        ("bad", "connections lost"),
        ("unsure", "generator too slow"),
        ("expected", "predicted"),
    ]
    return Plot(svg=draw(rows, axis, title=says, legend=legend), file=SWEEP_PLOT, says=says)


def _probes(found: Capacity) -> Section:
    rows = tuple(
        (
            f"{number}",
            f"{text.count(probe.rate)}/s",
            str(probe.ended),
            text.count(probe.ok),
            text.count(probe.failed),
            text.count(probe.dropped),
            probe.why,
        )
        for number, probe in enumerate(found.probes, start=1)
    )
    return Section(
        title=f"Trials of {found.tuning}",
        table=Table(
            header=("trial", "rate", "ended", "ok", "failed", "dropped", "why"),
            rows=rows,
            numbers=frozenset({1, 3, 4, 5}),
        ),
        lines=tuple(f"out of scope here: {line}" for line in found.skipped),
        long=True,
    )


def _sweep_verdict(sweep: Sweep) -> tuple[Look, str]:
    found = sweep.capacities
    wrong = [one.tuning for one in found if one.agrees is False]
    right = [one.tuning for one in found if one.agrees and one.measured is not None]
    bounded = [one.tuning for one in found if one.agrees and one.measured is None]
    silent = [one.tuning for one in found if one.agrees is None]
    parts = []
    if wrong:
        parts.append(f"Measurement contradicts the prediction: {', '.join(wrong)}.")
    if right:
        parts.append(f"The prediction lies in the measured bracket for {', '.join(right)}.")
    if bounded:
        parts.append(
            f"For {', '.join(bounded)} this machine or the generator was the limit first, and "
            "nothing was lost below."
        )
    if silent:
        parts.append(f"Nothing can be said about {', '.join(silent)}.")
    if not sweep.finished:
        parts.append("The sweep was interrupted.")
    if wrong:
        look = Look("bad", "✗", "The prediction is off")
    elif right or bounded:
        look = Look("good", "✓", "As predicted")
    else:
        look = Look("warn", "?", "Nothing was measured")
    return look, " ".join(parts) or "No tuning was measured."


def sweep_sheet(sweep: Sweep) -> Sheet:
    """Return a sweep as a sheet."""
    config = sweep.config
    look, sentence = _sweep_verdict(sweep)
    facts = [
        ("Load", f"{_span(sweep)} a trial, closed by the {config.close}"),
        ("Addresses", f"{config.source_addresses} to {config.servers}"),
        *_place(sweep.environment),
        ("Started", text.moment(sweep.started_at)),
    ]
    if sweep.closed_loop_rate:
        facts.insert(2, ("This machine's closed loop", f"{text.count(sweep.closed_loop_rate)}/s"))
    about = (
        "Capacity is the highest rate at which a load of this length loses nothing. A search halves "
        f"the bracket until its ends are within {config.precision:.0%}, then repeats both "
        f"ends {config.confirm} times; p is the chance of so clean a separation if the rate "
        "made no difference (Fisher's exact test, one-sided)."
    )
    return Sheet(
        title=sweep.name,
        kind="measured capacity of tunings",
        tone=look.tone,
        sign=look.sign,
        words=look.words,
        sentence=sentence,
        started_at=sweep.started_at,
        facts=tuple(facts),
        sections=(
            Section(
                title="Capacity",
                about=about,
                plot=_plot(sweep),
                table=_capacities(sweep),
                lines=tuple(map(_evidence, sweep.capacities)),
            ),
            *(_probes(found) for found in sweep.capacities),
        ),
    )


def _place(environment: Environment) -> list[tuple[str, str]]:
    facts = [("Kernel", text.kernel(environment))]
    if environment.cpus:
        facts.append(("CPUs", str(environment.cpus)))
    return facts


# --- a validation -------------------------------------------------------------------------------


def _figure(value: float | None, unit: str) -> str:
    """Return a value with as many digits as an error of 0.1 % needs."""
    if value is None:
        return text.NOTHING
    if unit == "s":
        return f"{value:.3f} s"
    shown = text.count(value) if value >= 1_000 or float(value).is_integer() else f"{value:.1f}"
    return f"{shown}/s" if unit == "/s" else shown


def _off(check: ValidatedFigure) -> str:
    if check.error is None or not math.isfinite(check.error):
        return text.NOTHING
    return f"{check.error:+.2%}".replace("-", "−")


def check_line(check: ValidatedFigure) -> str:
    """Return one check as a line, for the progress."""
    word = {True: "ok", False: "OFF", None: "not measured"}[check.agrees]
    return (
        f"{check.name:<22} predicted {_figure(check.predicted, check.unit):>10}  measured "
        f"{_figure(check.measured, check.unit):>10}  error {_off(check):>7} of "
        f"{check.tolerance:.1%}  {word}{f': {check.note}' if check.note else ''}"
    )


def _checks(checks: Sequence[ValidatedFigure]) -> Table:
    rows = tuple(
        (
            check.situation,
            check.quantity,
            _figure(check.predicted, check.unit),
            _figure(check.measured, check.unit),
            _off(check),
            f"{check.tolerance:.1%}",
            {True: "yes", False: "no", None: check.note}[check.agrees],
        )
        for check in checks
    )
    return Table(
        header=("situation", "figure", "predicted", "measured", "error", "allowed", "agrees"),
        rows=rows,
        numbers=frozenset({2, 3, 4, 5}),
    )


def _errors(checks: Sequence[ValidatedFigure]) -> Plot | None:
    known = [check for check in checks if check.error is not None and math.isfinite(check.error)]
    if not known:
        return None
    rows = [
        PlotRow(
            label=check.name,
            note=check.quantity if len(check.quantity) < 34 else f"{check.quantity[:32]}…",
            span=(-check.tolerance, check.tolerance),
            marks=(
                Mark(
                    check.error or 0.0,
                    "good" if check.agrees else "bad",
                    f"{_off(check)}: predicted {_figure(check.predicted, check.unit)}, measured "
                    f"{_figure(check.measured, check.unit)}",
                ),
            ),
        )
        for check in known
    ]
    axis = Axis(
        title="error of the prediction, as a share of what was measured",
        low=-_WIDEST,
        high=_WIDEST,
        form=lambda share: f"{share:+.0%}".replace("-", "−") if share else "0",
        lines=((0.0, "as predicted"),),
    )
    says = "error of each prediction within its tolerance"
    legend: list[tuple[Kind, str]] = [("good", "within the shaded tolerance"), ("bad", "outside")]
    return Plot(svg=draw(rows, axis, title=says, legend=legend), file=VALIDATION_PLOT, says=says)


def validation_sheet(validation: Validation) -> Sheet:
    """Return a validation as a sheet."""
    checks = validation.checks
    right = sum(1 for check in checks if check.agrees)
    wrong = [check.name for check in checks if check.agrees is False]
    silent = [check.name for check in checks if check.agrees is None]
    worst = max((abs(check.error) for check in checks if check.error is not None), default=0.0)
    sentence = (
        f"{right} of {len(checks)} predictions are within their tolerance of what was measured"
        + (f"; the greatest error is {worst:.2%}" if right else "")
        + (f". Outside: {', '.join(wrong)}" if wrong else "")
        + (f". Not measured: {', '.join(silent)}" if silent else "")
        + "."
    )
    if wrong:
        look = Look("bad", "✗", "The prediction is off")
    elif silent or not checks:
        look = Look("warn", "?", "Not all was measured")
    else:
        look = Look("good", "✓", "As predicted")
    return Sheet(
        title="prediction against measurement",
        kind="the capacity model on trial",
        tone=look.tone,
        sign=look.sign,
        words=look.words,
        sentence=sentence,
        started_at=validation.started_at,
        facts=(*_place(validation.environment), ("Started", text.moment(validation.started_at))),
        sections=(
            Section(
                title="Predicted and measured",
                about="Small ranges of ports show in half a second what a default range shows in "
                "minutes; each situation is measured once, in fresh namespaces.",
                plot=_errors(checks),
                table=_checks(checks),
            ),
        ),
    )
