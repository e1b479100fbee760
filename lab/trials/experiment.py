"""Runs an experiment: interleaved trials of the arms, each at a fresh site, all of it on record.

Design of the experiment. The number of trials is fixed in advance and the arms take turns, first
one then the other beginning (ABBA), so that a machine that grows slower or faster meanwhile does it
to both (Kalibera and Jones, "Rigorous Benchmarking in Reasonable Time", 2013). Every trial has its
own namespaces: no TIME_WAIT socket and no conntrack entry of the last one is left. A trial that the
generator or the machine spoiled is not an observation; it is run again, a bounded number of times, and
stays on record.

`experiment.json` is written anew after every trial, so whatever ends the experiment leaves one that
reports can be made from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import trio

from lab.analysis.length import first_reach
from lab.analysis.records import (
    AFTER,
    BEFORE,
    Arm,
    Experiment,
    ExperimentConfig,
    FoundRate,
    Trial,
)
from lab.analysis.store import EXPERIMENT
from lab.analysis.text import plural
from lab.sysctl.apply import Applied
from lab.sysctl.effect import deciding, differing, only_tracking
from lab.sysctl.tuning import Tuning
from lab.testbed.base import Testbed, Tuned
from lab.testbed.behaviour import behaviour, described
from lab.testbed.faults import Fault
from lab.trials.plan import USUAL, Calibration, ExperimentPlan, ExperimentProgress, order
from lab.trials.trial import Observed, counts, observe, suffix
from loadgen.config import LoadOptions
from loadgen.errors import ChurnlabError
from loadgen.files import write_whole, writing
from loadgen.sample import ROLE_CLIENT
from loadgen.summary import encode

_CALIBRATION_SECONDS = 1.0
_CALIBRATION_SHARE = 0.5
"""Of the closed loop's rate: an open loop needs headroom, or every hiccup drops arrivals."""


class ExperimentError(ChurnlabError):
    """An experiment that cannot begin or go on. One line, with the remedy."""


class Conductor:
    """Runs one experiment.

    Args:
        plan: what to compare.
        testbed: where.
        directory: where its files go; made if missing, must not hold an experiment.
        progress: shows the progress.

    Raises:
        ExperimentError: when the directory holds an experiment already.
        WriteError: when it cannot be written.
    """

    def __init__(
        self, plan: ExperimentPlan, testbed: Testbed, directory: Path, progress: ExperimentProgress
    ) -> None:
        self._plan = plan
        self._testbed = testbed
        self._directory = directory
        self._progress = progress
        self._tunings = dict(plan.arms)
        self._trials: list[Trial] = []
        self._baseline: dict[str, dict[str, str]] = {}
        self._config = ExperimentConfig()
        self._found_rate: FoundRate | None = None
        self._started_at = _now()
        self._notes: list[str] = []
        if (directory / EXPERIMENT).exists():
            raise ExperimentError(f"{directory} holds an experiment already", "give another --out")
        with writing(directory):
            (directory / "trials").mkdir(parents=True, exist_ok=True)

    async def run(self) -> Experiment:
        """Run every trial and return the record of the experiment.

        Raises:
            TuningError: when a tuning cannot be applied; names the arm and the line.
            TestbedError: when a site cannot be made.
            TrialError: when a run cannot begin.
            ExperimentError: when no rate can be found, or the arms differ in nothing that matters.
        """
        held = self._rehearse()
        self._progress.rehearsed()
        self._compare_arms(held)
        rate, duration = self._plan.rate, self._plan.duration or USUAL
        if rate is None:
            found = await self._calibrate(held)
            rate, duration = found.rate, found.duration
        self._config = self._describe(rate, duration)
        self._write(finished=False)
        for arm, number in order([name for name, _ in self._plan.arms], self._plan.trials):
            await self._observe(arm, number, rate, duration)
        return self._write(finished=True)

    def _rehearse(self) -> dict[str, dict[str, Applied]]:
        """Apply every arm's tuning once where nothing runs, so that errors come first.

        By arm and role; where no arm names roles, both ends get the same and one rehearsal is enough.
        """
        keys = tuple(sorted({key for _, tuning in self._plan.arms for key in tuning.values}))
        named = dict.fromkeys(role for _, tuning in self._plan.arms for role, _ in tuning.parts)
        return {
            arm: {
                role: self._testbed.rehearse(Tuned(tuning.of(role), arm, keys, role))
                for role in named or (ROLE_CLIENT,)
            }
            for arm, tuning in self._plan.arms
        }

    def _compare_arms(self, held: Mapping[str, Mapping[str, Applied]]) -> None:
        """Say, before the first trial, when a before/after pair is one arm twice.

        The same tuning twice is nobody's mistake: it shows what chance does.

        Raises:
            ExperimentError: when nothing that decides connects differs between two tunings.
        """
        arms = dict(self._plan.arms)
        if set(arms) != {BEFORE, AFTER} or _same_lines(arms[BEFORE], arms[AFTER]):
            return
        found = [
            key
            for role, after in held[AFTER].items()
            for key in differing(held[BEFORE][role].in_force, after.in_force)
        ]
        decisive = deciding(found)
        name = arms[AFTER].source if arms[AFTER].source != "built-in" else arms[AFTER].name
        if not found:
            skipped = {k: why for one in held[AFTER].values() for k, why in one.skipped.items()}
            raise ExperimentError(
                f"{name} changes nothing that decides connects: with it the same holds here as with "
                f"{arms[BEFORE].name} ({_fate(arms[AFTER], skipped)}); nothing was run"
            )
        if not decisive:
            self._progress.remarked(
                f"note: {name} changes nothing that decides connects: {', '.join(found[:4])} "
                f"{'is' if len(found) == 1 else 'are'} all that differs from {arms[BEFORE].name}"
            )
        elif only_tracking(decisive) and not self._tracks():
            self._progress.remarked(
                f"note: of what decides connects {name} changes the tracking of connections only, "
                "and no namespace here tracks any: its lines have nothing to act on "
                "(lab ablate tracks on the servers' side, --topology nat in between)"
            )

    def _tracks(self) -> bool:
        """Whether some namespace of a site tracks connections; of containers nobody knows here."""
        return self._testbed.name != "netns" or self._plan.site.topology == "nat"

    async def _observe(self, arm: str, number: int, rate: float, duration: float) -> None:
        """Get one valid trial of an arm, trying again while the machine spoils it."""
        load = replace(self._plan.load, rate=rate, duration=duration)
        used, repetition = False, 0
        while not used:
            directory = Path("trials", f"{number:02d}-{arm}{suffix(repetition)}")
            self._progress.trial_started(arm, number, repetition, self._directory / directory)
            started_at = _now()
            observed = await self._run(arm, load, directory, self._plan.faults)
            used = counts(observed.summary, repetition)
            self._trials.append(
                Trial(
                    arm=arm,
                    number=number,
                    repetition=repetition,
                    used=used,
                    directory=str(directory),
                    sysctls={role: dict(values) for role, values in observed.in_force.items()},
                    skipped=dict(observed.skipped),
                    started_at=started_at,
                    faults=list(observed.faults),
                )
            )
            self._write(finished=False)
            self._progress.trial_ended(arm, number, observed.summary, used=used)
            repetition += 1

    async def _run(
        self, arm: str, load: LoadOptions, directory: Path, faults: Sequence[Fault] = ()
    ) -> Observed:
        """Run loadgen once at a fresh site under an arm's tuning; `directory` is relative."""
        keys = {key for tuning in self._tunings.values() for key in tuning.values}
        observed = await observe(
            self._testbed,
            self._plan.site,
            Tuned(self._tunings[arm], arm, tuple(sorted(keys))),
            load=load,
            directory=self._directory / directory,
            log=self._directory / "loadgen.log",
            faults=faults,
        )
        self._notes = list(observed.notes)
        for role, values in observed.baseline.items():
            self._baseline.setdefault(role, dict(values))
        return observed

    async def _calibrate(self, held: Mapping[str, Mapping[str, Applied]]) -> Calibration:
        """Return a rate that this machine can carry: a share of its closed loop, rounded down.

        Measured under the arm that is expected to hold, for the others may collapse; never above
        what the plan asks for. With it the duration, unless the plan has one.
        """
        arm = self._plan.calibrate_on or self._plan.arms[-1][0]
        load = replace(self._plan.load, rate="max", duration=_CALIBRATION_SECONDS)
        observed = await self._run(arm, load, Path("calibration"))
        summary = observed.summary
        if not summary.ok:
            causes = "; ".join(cause.title for cause in summary.causes) or "nothing was answered"
            raise ExperimentError(f"cannot find a rate: {causes}", "give --rate")
        ceiling = summary.rate.achieved
        rate = min(self._plan.auto_rate, _round_down(ceiling * _CALIBRATION_SHARE))
        reach, duration = None, self._plan.duration
        if duration is None:
            named = any(tuning.parts for _, tuning in self._plan.arms)
            arms = {
                name: _settings(observed.in_force, applied, named=named)
                for name, applied in held.items()
            }
            reach = first_reach(summary, arms, rate, behaviour())
            duration = max(USUAL, 0.0 if reach is None else reach.duration)
        found = Calibration(rate=rate, ceiling=ceiling, duration=duration, reach=reach)
        self._progress.calibrated(found)
        self._found_rate = FoundRate(closed_loop_rate=ceiling, share=_CALIBRATION_SHARE)
        return found

    def _describe(self, rate: float, duration: float) -> ExperimentConfig:
        plan, site = self._plan, self._plan.site
        nat, between = site.topology == "nat", site.topology != "direct"
        return ExperimentConfig(
            calibration=self._found_rate,
            rate=rate,
            duration=duration,
            trials=plan.trials,
            server=site.server,
            server_url=site.server_url,
            tls=bool(site.certificate),
            servers=site.servers,
            memcached_threads=site.memcached_threads,
            memcached_connections=site.memcached_connections,
            memcached_options=list(site.memcached_options),
            source_addresses=site.source_addresses,
            rtt=site.rtt,
            loadgen=plan.load.arguments(),
            topology=site.topology if between else None,
            nat_ports=site.nat_ports if nat else msgspec.UNSET,
            nat_room=site.nat_room if nat else msgspec.UNSET,
            proxy=site.proxy if site.topology == "proxy" else None,
            gates=list(plan.gates),
            faults=[str(fault) for fault in plan.faults],
        )

    def _write(self, *, finished: bool) -> Experiment:
        """Write `experiment.json` as it stands, whole or not at all."""
        experiment = Experiment(
            name=self._plan.name,
            testbed=self._testbed.name,
            started_at=self._started_at,
            finished=finished,
            config=msgspec.structs.replace(self._config, notes=self._notes),
            environment=described(),
            arms=[
                Arm(
                    name=name,
                    tuning=tuning.name,
                    source=tuning.source,
                    text=tuning.text,
                    settings=tuning.values,
                    roles={role: part.values for role, part in tuning.parts},
                )
                for name, tuning in self._plan.arms
            ],
            trials=list(self._trials),
            baseline=self._baseline,
        )
        with writing(self._directory):
            write_whole(self._directory / EXPERIMENT, encode(experiment))
        return experiment


def _same_lines(before: Tuning, after: Tuning) -> bool:
    """Whether two tunings say the same to the same roles."""
    parts = [{role: one.values for role, one in tuning.parts} for tuning in (before, after)]
    return before.values == after.values and parts[0] == parts[1]


def _fate(tuning: Tuning, left_out: Mapping[str, str]) -> str:
    """Return in a few words what became of the lines of a tuning that changed nothing."""
    if not tuning.settings:
        return "it has no line"
    skipped = [f"{key}: {reason}" for key, reason in left_out.items()]
    rest = len(tuning.settings) - len(skipped)
    parts = [f"{plural(rest, 'line')} in force anyway"] if rest else []
    if skipped:
        more = f" and {len(skipped) - 1} more" if len(skipped) > 1 else ""
        parts.append(f"{plural(len(skipped), 'line')} out of scope: {skipped[0]}{more}")
    return "; ".join(parts)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _round_down(rate: float) -> float:
    """Return `rate` with two significant digits, rounded down: a figure people can remember."""
    unit = 10 ** max(0, len(str(int(rate))) - 2)
    return float(int(rate) // unit * unit)


def run(
    plan: ExperimentPlan, testbed: Testbed, directory: Path, progress: ExperimentProgress
) -> Experiment:
    """Run an experiment to its end; the synchronous face of `Conductor.run`."""
    return trio.run(Conductor(plan, testbed, directory, progress).run)


def _settings(
    site: Mapping[str, Mapping[str, str]], held: Mapping[str, Applied], *, named: bool
) -> dict[str, dict[str, str]]:
    """Return an arm's settings by role: those of a site, and over them what its rehearsal read.

    Args:
        site: read back at a site of any arm.
        held: of the rehearsal, by role.
        named: whether tunings name roles; where none does, both ends get what the client gets.
    """
    both = None if named else held[ROLE_CLIENT]
    return {
        role: {**values, **(found.in_force if (found := held.get(role, both)) else {})}
        for role, values in site.items()
    }
