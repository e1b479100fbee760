"""Runs the trials of a sweep: for each tuning a bracketing search, each trial at a fresh site."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from lab.capacity import (
    Forecast,
    Kernel,
    Load,
    Settings,
    Situation,
    forecast,
)
from lab.sweep.records import Capacity, Probe, Sweep, SweepConfig
from lab.sweep.search import STEP, Bracketing, TrialEnd
from lab.sysctl.tuning import Tuning
from lab.testbed.base import SitePlan, Testbed, Tuned
from lab.testbed.behaviour import behaviour, described
from lab.trials.trial import Observed, TrialError, observe
from loadgen.config import LoadOptions
from loadgen.files import write_whole, writing
from loadgen.sample import ROLE_CLIENT, ROLE_SERVER
from loadgen.summary import Summary, encode

SWEEP: str = "sweep.json"
_CEILING_SECONDS = 1.0
_CEILING_SHARE = 0.6
"""Of the closed loop's rate: where an open loop begins to be safe on this machine."""
_TRUSTED = 0.9
"""Of that ceiling: below it a forecast can be tried as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPlan:
    """What is to be measured, and how."""

    name: str
    tunings: tuple[Tuning, ...]
    duration: float = 3.0
    """Seconds of each trial."""
    confirm: int = 4
    precision: float = 0.05
    site: SitePlan = field(default_factory=SitePlan)
    load: LoadOptions = field(default_factory=LoadOptions)
    """How the load is made; rate and duration are those of each trial."""


class SweepProgress(Protocol):
    """Whoever shows a sweep's progress."""

    def ceiling(self, rate: float) -> None:
        """The closed loop's rate was found."""

    def tuning_started(self, tuning: str, predicted: float | None) -> None:
        """A search begins."""

    def trial_started(self, tuning: str, rate: float) -> None:
        """A trial begins."""

    def trial_ended(self, tuning: str, probe: Probe) -> None:
        """A trial ended."""

    def tuning_ended(self, capacity: Capacity) -> None:
        """A search ended."""


def ended(summary: Summary) -> tuple[TrialEnd, str]:
    """Return how a trial ended, and why.

    A trial that the generator or the machine spoiled is no evidence, even if nothing was lost.
    """
    if summary.validity != "valid":
        reasons = summary.generator.reasons or [summary.validity]
        return TrialEnd.LIMITED, reasons[0]
    if summary.lost or summary.unfinished:
        return TrialEnd.LOST, summary.causes[0].title if summary.causes else "cause unknown"
    return TrialEnd.CLEAN, ""


class Sweeper:
    """Runs one sweep.

    Args:
        plan: what to measure.
        testbed: where.
        directory: where its files go; made if missing.
        progress: shows the progress.

    Raises:
        TrialError: when the directory holds a sweep already.
        WriteError: when it cannot be written.
    """

    def __init__(
        self, plan: SweepPlan, testbed: Testbed, directory: Path, progress: SweepProgress
    ) -> None:
        self._plan = plan
        self._testbed = testbed
        self._directory = directory
        self._progress = progress
        self._started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._closed_loop: float | None = None
        self._found: list[Capacity] = []
        self._finished = False
        if (directory / "trials").exists():
            raise TrialError(f"{directory} holds trials already", "give another --out")
        with writing(directory):
            (directory / "trials").mkdir(parents=True)

    async def run(self) -> None:
        """Measure every tuning; `record` has what was found.

        Raises:
            TuningError: when a tuning cannot be applied.
            TestbedError: when a site cannot be made.
            TrialError: when a run cannot begin.
        """
        for tuning in self._plan.tunings:
            await self._measure(tuning)
            self._write()
        self._finished = True
        self._write()

    async def _observe(self, tuning: Tuning, load: LoadOptions, directory: Path) -> Observed:
        return await observe(
            self._testbed,
            self._plan.site,
            Tuned(tuning, tuning.name),
            load=load,
            directory=self._directory / directory,
            log=self._directory / "trials" / "loadgen.log",
        )

    async def _ceiling(self, tuning: Tuning, number: int) -> Observed:
        """Run the closed loop for a second: the machine's limit, and the settings in force.

        Connections end by RST, which leaves nothing behind: no tuning is in the way.
        """
        load = replace(self._plan.load, rate="max", duration=_CEILING_SECONDS, close="rst")
        directory = Path("trials", f"{number}-{tuning.name}-max")
        return await self._observe(tuning, load, directory)

    async def _measure(self, tuning: Tuning) -> None:
        plan, number = self._plan, len(self._found) + 1
        first = await self._ceiling(tuning, number)
        if self._closed_loop is None or first.summary.rate.achieved > self._closed_loop:
            self._closed_loop = first.summary.rate.achieved
            self._progress.ceiling(self._closed_loop)
        found, for_good = self._forecasts(first, plan)
        self._progress.tuning_started(tuning.name, found.sustainable_rate)
        search = self._search(found.sustainable_rate)
        probes: list[Probe] = []
        while (rate := search.next()) is not None:
            probe = await self._probe(tuning, round(rate, 1), number, len(probes) + 1)
            search.saw(rate, probe.ended)
            probes.append(probe)
        self._found.append(_conclude(tuning, first, found, for_good, search, probes))
        self._progress.tuning_ended(self._found[-1])

    async def _probe(self, tuning: Tuning, rate: float, number: int, trial: int) -> Probe:
        self._progress.trial_started(tuning.name, rate)
        directory = Path("trials", f"{number}-{tuning.name}-{trial:02d}")
        load = replace(self._plan.load, rate=rate, duration=self._plan.duration)
        observed = await self._observe(tuning, load, directory)
        summary = observed.summary
        how, why = ended(summary)
        probe = Probe(
            rate=rate,
            ended=how,
            scheduled=summary.scheduled,
            ok=summary.ok,
            failed=summary.failed,
            dropped=summary.dropped,
            why=why,
            directory=str(directory),
        )
        self._progress.trial_ended(tuning.name, probe)
        return probe

    def _search(self, predicted: float | None) -> Bracketing:
        """Return the search: from the forecast where it can be tried, else from the ceiling."""
        plan = self._plan
        roof = (self._closed_loop or 0) * _CEILING_SHARE
        if predicted is not None and 1 <= predicted <= roof * _TRUSTED:
            half = 1 + plan.precision / 2
            return Bracketing(
                first=predicted / half,
                narrow=half * half,
                precision=plan.precision,
                confirm=plan.confirm,
            )
        return Bracketing(
            first=max(1.0, roof), narrow=STEP, precision=plan.precision, confirm=plan.confirm
        )

    @staticmethod
    def _forecasts(observed: Observed, plan: SweepPlan) -> tuple[Forecast, Forecast]:
        """Return the forecast for a load of the sweep's duration, and for one without end."""
        situation = Situation(
            load=Load(
                rate=1.0,
                close=plan.load.close,
                sources=plan.site.source_addresses,
                destinations=plan.site.servers,
                local_port_range=plan.load.local_port_range,
                rtt=plan.site.rtt,
                service=0.0,
            ),
            settings=Settings.of(
                observed.in_force.get(ROLE_CLIENT, {}), observed.in_force.get(ROLE_SERVER)
            ),
            kernel=Kernel.of(observed.summary.environment.kernel or "", behaviour()),
        )
        short = replace(situation.load, duration=plan.duration)
        return forecast(replace(situation, load=short)), forecast(situation)

    def record(self) -> Sweep:
        """Return what was measured so far."""
        plan = self._plan
        config = SweepConfig(
            duration=plan.duration,
            confirm=plan.confirm,
            precision=plan.precision,
            close=plan.load.close,
            servers=plan.site.servers,
            source_addresses=plan.site.source_addresses,
            rtt=plan.site.rtt,
            local_port_range=plan.load.local_port_range,
            loadgen=plan.load.arguments(),
        )
        return Sweep(
            name=plan.name,
            started_at=self._started_at,
            finished=self._finished,
            config=config,
            environment=described(),
            closed_loop_rate=self._closed_loop,
            capacities=list(self._found),
        )

    def _write(self) -> None:
        """Write `sweep.json` as it stands, whole or not at all."""
        with writing(self._directory):
            write_whole(self._directory / SWEEP, encode(self.record()))


def _conclude(
    tuning: Tuning,
    first: Observed,
    found: Forecast,
    for_good: Forecast,
    search: Bracketing,
    probes: list[Probe],
) -> Capacity:
    low, high = search.low, search.high
    below = search.tallies[low] if low is not None else None
    above = search.tallies[high] if high is not None else None
    causes = [probe.why for probe in probes if probe.ended is TrialEnd.LOST]
    return Capacity(
        tuning=tuning.name,
        settings=tuning.values,
        predicted=found.sustainable_rate,
        bound_by=found.bound_by,
        for_good=for_good.sustainable_rate,
        low=low,
        high=high,
        at_least=search.only_at_least,
        clean=below.clean if below else 0,
        lost=above.lost if above else 0,
        tried_high=above.clean + above.lost if above else 0,
        p=search.separation(),
        cause=max(set(causes), key=causes.count) if causes else "",
        probes=probes,
        skipped=[f"{key}: {reason}" for key, reason in first.skipped.items()],
    )
