"""Runs the validation: each case once, at a fresh site, its prediction beside its measurement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from lab.analysis.predictions import situation_of
from lab.capacity import behind_proxy, forecast
from lab.sweep.carried import carried
from lab.sweep.cases import TOLERANCES, Case
from lab.sweep.records import ValidatedFigure, Validation
from lab.sysctl.tuning import Tuning, combine, parse
from lab.testbed.base import SitePlan, Tuned, UntestableError
from lab.testbed.behaviour import behaviour, described
from lab.testbed.faults import parse_fault
from lab.testbed.netns import NetnsTestbed
from lab.testbed.tracked import TrackedTestbed
from lab.trials.trial import MAX_REPETITIONS, TrialError, observe
from loadgen.config import LoadOptions
from loadgen.files import writing
from loadgen.sample import ROLE_CLIENT, ROLE_PROXY, ROLE_SERVER

VALIDATION: str = "validation.json"
_UNITS = {"connections": "1", "rate": "/s", "time": "s", "sockets": "1"}

Said = Callable[[ValidatedFigure], None]
_PROBE_SECONDS = 1.0
_SHARE = 0.5
"""Of the closed loop's rate: an open loop needs headroom, or every hiccup drops arrivals."""


async def highest_rate(directory: Path) -> float:
    """Return the arrivals per second that this machine carries: a share of its closed loop.

    Connections end by RST, which leaves nothing behind that could be in the way.

    Raises:
        TestbedError: when a site cannot be made.
        TrialError: when nothing was answered.
    """
    observed = await observe(
        NetnsTestbed(),
        SitePlan(),
        Tuned(parse("", name="probe", source="validation"), "probe"),
        load=LoadOptions(rate="max", duration=_PROBE_SECONDS, close="rst"),
        directory=directory / "probe",
        log=directory / "loadgen.log",
    )
    if not observed.summary.ok:
        raise TrialError("nothing was answered while looking for a rate that this machine carries")
    return observed.summary.rate.achieved * _SHARE


async def check(case: Case, directory: Path) -> ValidatedFigure:
    """Measure one case.

    Raises:
        TuningError: when its settings cannot be applied.
        TestbedError: when a site cannot be made.
        TrialError: when a run cannot begin.
    """
    tuning = _tuning(case)
    plan = SitePlan(
        servers=case.servers,
        source_addresses=case.sources,
        topology=case.topology,
        nat_ports=case.nat_ports,
        nat_room=case.nat_room,
    )
    label = case.name.replace(" ", "-").replace(",", "")
    load = replace(case.load, rate=case.rate, duration=case.duration)
    testbed = NetnsTestbed() if case.margin is None else TrackedTestbed(left=case.margin)
    note, run = "", directory
    for repetition in range(MAX_REPETITIONS + 1):
        run = directory / f"{label}-{repetition + 1}"
        try:
            observed = await observe(
                testbed,
                plan,
                Tuned(tuning, case.name),
                load=load,
                directory=run,
                log=directory / "loadgen.log",
                faults=[parse_fault(fault) for fault in case.faults],
            )
        except UntestableError as error:
            return _unmeasured(case, None, f"not testable here: {error}", run)
        situation = situation_of(
            observed.summary,
            observed.in_force,
            nat_ports=plan.nat_ports,
            service=case.service,
            seen=behaviour(),
        )
        assert situation is not None
        if plan.topology == "proxy":
            held = observed.in_force
            situation = behind_proxy(
                situation, held[ROLE_PROXY], held.get(ROLE_SERVER), case.servers
            )
        predicted = case.predict(forecast(situation))
        if predicted is None:
            return _unmeasured(case, None, "the model predicts no such limit here", run)
        if observed.summary.validity == "valid":
            measured = case.measure(observed.summary)
            if measured is None:
                found = _unmeasured(case, predicted, "it did not break within the trial", run)
                return msgspec.structs.replace(found, never=True)
            return ValidatedFigure(
                name=case.name,
                situation=case.situation,
                quantity=case.what,
                unit=_UNITS[case.quantity],  # type: ignore[arg-type]  # the table's values are units
                predicted=predicted,
                measured=measured,
                tolerance=TOLERANCES[case.quantity],
                directory=run.name,
            )
        note = "; ".join(observed.summary.generator.reasons) or observed.summary.validity
    return _unmeasured(case, predicted, f"spoiled {MAX_REPETITIONS + 1} times: {note}", run)


def _tuning(case: Case) -> Tuning:
    """Return the tuning of a case: its lines for both ends, and those of the box in between."""
    ends = parse(case.settings, name=case.name, source="validation")
    if not case.box:
        return ends
    role = case.topology
    box = parse(case.box, name=f"{case.name}, {role}", source="validation")
    return combine({ROLE_CLIENT: ends, role: box, ROLE_SERVER: ends})


def _unmeasured(case: Case, predicted: float | None, note: str, run: Path) -> ValidatedFigure:
    return ValidatedFigure(
        name=case.name,
        situation=case.situation,
        quantity=case.what,
        unit=_UNITS[case.quantity],  # type: ignore[arg-type]  # the table's values are units
        predicted=0 if predicted is None else predicted,
        measured=None,
        tolerance=TOLERANCES[case.quantity],
        note=note,
        directory=run.name,
    )


class Validator:
    """Measures cases one after the other.

    Args:
        cases: what to measure.
        directory: where its files go; made if missing.
        said: called with each result.

    Raises:
        TrialError: when the directory holds a validation already.
        WriteError: when it cannot be written.
    """

    def __init__(self, cases: Sequence[Case], directory: Path, said: Said) -> None:
        if (directory / "trials").exists():
            raise TrialError(f"{directory} holds trials already", "give another --out")
        self._cases = cases
        self._trials = directory / "trials"
        self._said = said
        self._checks: list[ValidatedFigure] = []
        self._started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        with writing(directory):
            self._trials.mkdir(parents=True)

    async def run(self) -> None:
        """Measure every case; raises as `check`."""
        most = await highest_rate(self._trials)
        for case in self._cases:
            slow = carried(case, most)
            if slow is None:
                why = f"this machine carries {most:,.0f}/s, too few for this situation"
                self._checks.append(_unmeasured(case, None, why, self._trials))
            else:
                self._checks.append(await check(slow, self._trials))
            self._said(self._checks[-1])

    def record(self) -> Validation:
        """Return what was measured so far."""
        return Validation(
            started_at=self._started_at,
            environment=described(),
            checks=list(self._checks),
        )
