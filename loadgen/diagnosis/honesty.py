"""Whether a run measured the kernel or the generator: attribution of drops, and validity.

An arrival is dropped when the loop came to it too late. There are three reasons for that, and only
one of them spoils the run:

- the loop sat inside connect(), where the kernel was searching for a free port: a finding about the
  client's host, and the very failure that a tuning is to prevent;
- as many attempts as allowed were in flight, because replies did not come: a finding about the
  server or the network;
- the loop had more to do than its CPU allowed, or did not get the CPU: the generator's limit.

The first is told by the time inside connect(), taken between two ticks: its mean call is several
times what it is while ports are plenty (a search costs about 0.09 µs a port, so 1 to 3 ms in a default
range, against some 25 µs for a connect() that finds its port at once), and those calls fill most of
the loop's time. What it is while ports are plenty the run itself shows, if they ever were. On a host
with a history they were not: what an earlier load left in TIME_WAIT is in force from the first
arrival on, and a comparison with the run's own beginning would find nothing slow in it. Then the
kernel's usual figure stands in.

A slow stretch leaves arrivals undone, as many as were due in it and not started. They become overdue
one after the other while the loop, at full speed again, works through them; with reuse, when a
stretch of a tenth of a second comes once a second, that is all the time. So drops after a slow
stretch are its doing until as many arrivals were dropped or made up for as it left undone.

On a machine with too little CPU connect() takes long as well: the worker loses its CPU in the middle
of it. Two things tell the difference. The search *burns* CPU, in system mode, for nearly as long as
it lasts, and no less than it takes to pass the held ports; waiting for a CPU burns none. And there is
nothing to search for while ports are plenty: connect() looks among the ports of one parity first
(`loadgen.diagnosis.ports`), so until about half of them are in use toward one destination it finds
one at once.

A search that leaves the loop time enough holds nobody up. It is a limit that was reached all the same,
and costs what it costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import msgspec

from loadgen.accounting.sums import PREFIX
from loadgen.diagnosis.port_use import PortUse
from loadgen.sample import Sample

USUAL_CONNECT = 30e-6
"""Seconds of a connect() that finds its port at once, handshake included: 16 to 60 µs were measured
(Linux 6.18). For runs in which ports were scarce from the first arrival on."""
SLOW_FACTOR = 4.0
"""How many times the undisturbed connect() a slow one takes, on average over an interval."""
SLOW_AT_LEAST = 150e-6
"""Seconds. Below this a slow connect() is scheduling noise on a busy machine."""
SLOW_SHARE = 0.5
"""The part of the loop's wall time that slow connect() calls fill before they explain a drop."""
SEARCH_PORTS = 0.45
"""The share of the ports in use toward one destination below which there is no long search."""
SEARCH_CPU = 0.35
"""System CPU time over time inside connect(), from which on connect() worked rather than waited.

Below 1 because a worker in a search is preempted too: on a machine whose every CPU has two
programs to run, it gets half."""
WAITING_CPU = 0.15
"""The same ratio, below which connect() only waited, however many ports are in use."""
SEARCH_PER_PORT = 0.02e-6
"""Seconds of CPU that passing one held port takes at the least; 0.09 to 0.28 µs were measured (6.18)."""
_SMOOTH = 2
"""Intervals on each side whose CPU time counts too: the kernel accounts it in ticks of 1 to 10 ms."""
TOLERATED_DROPS = 0.001
"""The share of arrivals that the generator may drop by itself in a valid run."""
TOLERATED_BESIDE = 0.05
"""The same beside drops that the kernel caused: a twentieth of them changes no finding."""
SATURATED_CPU = 0.95
STEAL_WORTH_SAYING = 0.02
_CPU = (PREFIX + "cpu_", PREFIX + "busiest_")
"""Used since the worker's own start, which is before the run's."""


class Interval(msgspec.Struct, frozen=True):
    """What changed between two ticks of the generator."""

    start: float
    end: float
    started: int
    dropped: int
    failed: int
    connect_calls: int
    connect_seconds: float
    cpu_system: float
    busiest: float
    """The CPU share, 0 to 1, of the busiest worker."""
    in_flight_drops: int

    @property
    def length(self) -> float:
        """Seconds."""
        return self.end - self.start

    @property
    def mean_connect(self) -> float:
        """Seconds a connect() call took on average; 0 without calls."""
        return self.connect_seconds / self.connect_calls if self.connect_calls else 0.0


class Attribution(msgspec.Struct, frozen=True):
    """Dropped arrivals by whose doing they are."""

    port_search: int
    in_flight: int
    generator: int
    baseline_connect: float
    """Seconds a connect() call took while it was undisturbed."""
    slow_connect: float
    """Seconds a connect() call took on average in the intervals where the search was slow."""
    slow_since: float | None
    """Seconds since the run's start; None when connect() never was slow."""
    slow_cpu: float = 0.0
    """Seconds of system CPU time that a connection cost in those intervals."""
    slow_calls: int = 0
    """connect() calls in those intervals."""
    throttled: float = 0.0
    """Seconds of the run in which slow calls filled most of the loop's time."""
    compared: bool = True
    """Whether `baseline_connect` is the run's own; else ports were scarce all along."""


def _from_zero(samples: Sequence[Sample]) -> list[Sample]:
    """Return the samples with the run's start before them, and one at most for each moment.

    The first sample comes when the slowest worker has reported, and two can share a moment when a
    worker ended; neither may hide a drop from the attribution.
    """
    if not samples:
        return []
    first = samples[0].values
    unchanged = {name: first[name] for name in first if name.startswith(_CPU)}
    found = [Sample(0.0, samples[0].role, unchanged)]
    for item in samples:
        if item.t > found[-1].t:
            found.append(item)
        elif len(found) > 1:
            found[-1] = Sample(found[-1].t, item.role, item.values)
    return found


def intervals(samples: Sequence[Sample]) -> list[Interval]:
    """Return the changes between consecutive samples of the generator, from the run's start on."""
    found = []
    for before, after in pairwise(_from_zero(samples)):
        old, new = before.values, after.values

        def change(name: str, old: dict[str, float] = old, new: dict[str, float] = new) -> float:
            return new.get(PREFIX + name, 0) - old.get(PREFIX + name, 0)

        length = after.t - before.t
        found.append(
            Interval(
                start=before.t,
                end=after.t,
                started=int(change("started")),
                dropped=int(change("dropped")),
                failed=int(change("failed")),
                connect_calls=int(change("connect_calls")),
                connect_seconds=change("connect_call_seconds"),
                cpu_system=change("cpu_system_seconds"),
                busiest=change("busiest_worker_seconds") / length,
                in_flight_drops=int(change("drop_in_flight")),
            )
        )
    return found


def _searching(
    series: Sequence[Interval],
    place: int,
    threshold: float,
    ports: PortUse | None,
    *,
    fills: bool,
) -> bool:
    """Return whether slow connect() calls were a search for a port, not a wait for the CPU.

    Where nobody knows how full the ports were, only if they filled the loop's time.
    """
    around = series[max(0, place - _SMOOTH) : place + _SMOOTH + 1]
    slow = [i for i in around if i.connect_calls and i.mean_connect >= threshold]
    inside = sum(i.connect_seconds for i in slow)
    worked = sum(i.cpu_system for i in slow) / inside if inside else 0.0
    used = None if ports is None else ports.most(series[place].start, series[place].end)
    if ports is None or used is None:
        return fills and worked >= SEARCH_CPU
    calls = sum(i.connect_calls for i in slow)
    passed = SEARCH_PER_PORT * (ports.limit or 0) / 2
    return (
        used >= SEARCH_PORTS
        and worked >= WAITING_CPU
        and sum(i.cpu_system for i in slow) >= passed * calls
    )


def _undisturbed(series: Sequence[Interval], ports: PortUse | None) -> float | None:
    """Return seconds of a connect() call while it was undisturbed; None where it never was."""

    def plenty(interval: Interval) -> bool:
        used = None if ports is None else ports.most(interval.start, interval.end)
        return used is None or used < SEARCH_PORTS

    called = [i for i in series if i.connect_calls and plenty(i)]
    quiet = [i.mean_connect for i in called if not i.dropped and not i.failed]
    # Where trouble began at once there is no undisturbed stretch; the least mean stands in for it.
    return median(quiet) if quiet else min((i.mean_connect for i in called), default=None)


def _pace(series: Sequence[Interval], slow: Sequence[Interval]) -> float:
    """Return the arrivals a second that the loop kept up with before connect() became slow.

    Where it was slow from the start on, those that were due.
    """
    if not slow:
        return 0.0
    before = [i for i in series if i.end <= slow[0].start]
    kept = [i for i in before if not i.dropped and i.started]
    if kept:
        return median(i.started / i.length for i in kept)
    if any(i.started or i.dropped for i in before):
        return 0.0
    length = series[-1].end - slow[0].start
    return sum(i.started + i.dropped for i in series) / length if length else 0.0


@dataclass(frozen=True, slots=True)
class _Step:
    """An interval, and what its connect() calls did to the loop."""

    interval: Interval
    searched: bool
    """They were slow, because they searched for a port."""
    held_up: bool
    """And filled the loop's time with it."""


def _steps(
    series: Sequence[Interval], workers: int, threshold: float, ports: PortUse | None
) -> Iterator[_Step]:
    """Yield the intervals, each with what is to be said of it; `threshold` is where slow begins."""
    for place, interval in enumerate(series):
        slow = bool(interval.connect_calls) and interval.mean_connect >= threshold
        fills = interval.connect_seconds >= SLOW_SHARE * workers * interval.length
        searched = slow and _searching(series, place, threshold, ports, fills=fills)
        yield _Step(interval, searched, searched and fills)


@dataclass(slots=True)
class _Drops:
    """Dropped arrivals by whose doing they are, added up interval by interval."""

    pace: float
    """Arrivals a second that the loop keeps up with undisturbed."""
    baseline: float
    """Seconds of an undisturbed connect()."""
    port_search: int = 0
    in_flight: int = 0
    generator: int = 0
    owed: float = 0.0
    """Arrivals that slow stretches left undone, not yet dropped nor made up for."""

    def add(self, before: _Step | None, step: _Step, after: _Step | None) -> None:
        """Take in one interval, between its neighbours."""
        interval = step.interval
        self.in_flight += interval.in_flight_drops
        rest = max(0, interval.dropped - interval.in_flight_drops)
        due = self.pace * interval.length
        if step.held_up:
            self.port_search += rest
            self.owed = max(0.0, self.owed + due - interval.started - interval.dropped)
            return
        if after is not None and after.held_up:
            # A slow stretch begins somewhere in the interval before the first that it fills.
            inside = interval.connect_seconds - interval.connect_calls * self.baseline
            self.owed += self.pace * max(0.0, inside)
        # An arrival is dropped when it is overdue, which is one interval after the loop fell behind.
        follows = before is not None and before.held_up
        left_over = rest if follows else min(rest, round(self.owed))
        self.port_search += left_over
        self.generator += rest - left_over
        self.owed = max(0.0, self.owed - left_over - max(0.0, interval.started - due))


def attribute(
    series: Sequence[Interval], workers: int, ports: PortUse | None = None
) -> Attribution:
    """Return whose doing the drops of a run are.

    Args:
        series: the changes between the generator's samples.
        workers: how many processes the time of an interval was spent by.
        ports: how full the client's ports were; None when nobody knows.
    """
    called = [i.mean_connect for i in series if i.connect_calls]
    own = _undisturbed(series, ports)
    baseline = min((USUAL_CONNECT, *called)) if own is None and called else own or 0.0
    threshold = max(SLOW_FACTOR * baseline, SLOW_AT_LEAST)
    steps = list(_steps(series, workers, threshold, ports))
    searched = [step.interval for step in steps if step.searched]
    held_up = [step.interval for step in steps if step.held_up]
    drops = _Drops(_pace(series, held_up), baseline)
    for before, step, after in zip((None, *steps), steps, (*steps[1:], None), strict=False):
        drops.add(before, step, after)
    calls = sum(i.connect_calls for i in searched)
    return Attribution(
        port_search=drops.port_search,
        in_flight=drops.in_flight,
        generator=drops.generator,
        baseline_connect=baseline,
        slow_connect=sum(i.connect_seconds for i in searched) / calls if calls else 0.0,
        slow_since=searched[0].start if searched else None,
        slow_cpu=sum(i.cpu_system for i in searched) / calls if calls else 0.0,
        slow_calls=calls,
        throttled=sum(i.length for i in held_up),
        compared=own is not None or not called,
    )


def saturation(
    series: Sequence[Interval],
    attribution: Attribution,
    scheduled: int,
    machine: Sequence[Sample] = (),
) -> list[str]:
    """Return the reasons to think that the generator was the limit; none when it was not.

    Args:
        series: the changes between the generator's samples.
        attribution: whose doing the drops were.
        scheduled: arrivals due in all.
        machine: samples with the CPU times of the generator's machine, if there are any.
    """
    if attribution.generator <= TOLERATED_DROPS * scheduled:
        return []
    if attribution.generator <= TOLERATED_BESIDE * attribution.port_search:
        return []
    length = series[-1].end - series[0].start if series else 0.0
    busy = sum(i.busiest * i.length for i in series) / length if length else 0.0
    why = (
        f"its busiest worker used {busy:.0%} of a core"
        if busy >= SATURATED_CPU
        else "it did not get the CPU in time"
    )
    return [
        f"{attribution.generator} of {scheduled} arrivals were dropped by the generator "
        f"itself: {why}{_machine(machine)}"
    ]


_CPU_KINDS = ("user", "system", "softirq", "irq", "steal", "idle")


class MachineUse(msgspec.Struct, frozen=True):
    """How a machine's CPUs, all together, spent the time of a run."""

    busy: float
    """Share of the time that they were not idle, 0 to 1."""
    stolen: float
    """Share that the hypervisor gave to others, as far as it says so; part of `busy`."""


def machine_use(samples: Sequence[Sample]) -> MachineUse | None:
    """Return how busy the machine was; None where nobody knows."""
    read = [item for item in samples if "cpu_idle_seconds" in item.values and item.t >= 0]
    if len(read) < 2:
        return None
    first, last = read[0].values, read[-1].values
    spent = {
        kind: last.get(f"cpu_{kind}_seconds", 0) - first.get(f"cpu_{kind}_seconds", 0)
        for kind in _CPU_KINDS
    }
    total = sum(spent.values())
    if total <= 0:
        return None
    return MachineUse(busy=1 - spent["idle"] / total, stolen=spent["steal"] / total)


def _machine(samples: Sequence[Sample]) -> str:
    """Return, as the end of a sentence, how busy the machine was; nothing where nobody knows."""
    use = machine_use(samples)
    if use is None:
        return ""
    worth_saying = use.stolen >= STEAL_WORTH_SAYING
    stolen = f", and its hypervisor gave {use.stolen:.0%} to others" if worth_saying else ""
    return f"; the machine was {use.busy:.0%} busy{stolen}"
