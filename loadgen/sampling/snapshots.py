"""What is kept of the kernel's full state at the first connection of each new outcome. Pure.

A failure that comes once an hour cannot be looked into afterwards. So when a tick shows an outcome
for the first time, or the first dropped arrival, the coordinator takes everything at once, beside
the hot path: every counter that is not 0, who holds how many ports, who listens and how many wait,
the sysctls then in force, and the last two seconds of samples. It is written to
`snapshots/OUTCOME.json` in the run directory; its essence goes into the summary.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from loadgen.accounting.sums import PREFIX
from loadgen.metrics import CATALOGUE, SERVER_LIMITS
from loadgen.outcome import Outcome
from loadgen.sample import ROLE_SERVER, Sample
from loadgen.summary import Evidence, Number, SnapshotNote

SCHEMA: Final = "churnlab.snapshot/1"
DIRECTORY: Final = "snapshots"
RECENT = 2.0
"""Seconds of samples that a snapshot keeps."""
_OUTCOME, _DROP = PREFIX + "outcome_", PREFIX + "drop_"


class ListenQueue(msgspec.Struct, frozen=True):
    """A listening socket: how many connections wait for accept(), and how many may."""

    address: str
    port: int
    queue: int
    limit: int


class NamespaceState(msgspec.Struct, frozen=True):
    """Everything that is known of a namespace at the moment of the snapshot."""

    values: dict[str, Number]
    """The catalogue's metrics; nothing is left out for its cost."""
    pools: dict[str, int]
    """Ports in use by `source > destination:port`, where they are counted: the fullest."""
    listeners: list[ListenQueue]
    counters: dict[str, int]
    """Every field of /proc/net/snmp and /proc/net/netstat that is not 0."""
    sysctls: dict[str, str]


class State(msgspec.Struct, frozen=True):
    """Everything that was read at one moment."""

    t: float
    """Seconds of the run's clock."""
    places: dict[str, NamespaceState]
    """By role."""
    servers: dict[str, dict[str, Number]]
    """The servers' own statistics when they were last read, by `host:port`."""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One file of `snapshots/`."""

    schema: str = SCHEMA
    outcome: str
    seen_at: float
    """Seconds of the run's clock, of the tick that showed the outcome first."""
    state: State
    samples: list[Sample]
    """Those of the two seconds before."""


class NewOutcomes:
    """Notices outcomes that were not there before."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def fresh(self, values: Mapping[str, Number]) -> list[str]:
        """Return the failures that these readings of the generator show for the first time."""
        found = [name for name, count in failures(values) if count and name not in self._seen]
        self._seen.update(found)
        return found


def failures(values: Mapping[str, Number]) -> Iterator[tuple[str, Number]]:
    """Yield each failing outcome, and each reason for dropped arrivals, with its count."""
    for name, count in values.items():
        if name.startswith(_OUTCOME):
            outcome = name.removeprefix(_OUTCOME)
            if outcome != Outcome.OK:
                yield outcome, count
        elif name.startswith(_DROP):
            yield f"dropped_{name.removeprefix(_DROP)}", count


class Recent:
    """The last seconds of a run's samples, and no more, however long it goes on."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque()
        self._now = float("-inf")

    def add(self, sample: Sample) -> None:
        """Take in the next sample; let go of those that no snapshot will ask for any more."""
        self._samples.append(sample)
        self._now = max(self._now, sample.t)
        # A snapshot is taken a moment after the tick that it is for.
        while self._samples[0].t < self._now - 2 * RECENT:
            self._samples.popleft()

    def before(self, t: float) -> list[Sample]:
        """Return the samples of the two seconds before `t`, and since; all roles, in order."""
        return [item for item in self._samples if item.t >= t - RECENT]

    def __len__(self) -> int:
        return len(self._samples)


def file_of(outcome: str) -> str:
    """Return the snapshot's place in the run directory."""
    return f"{DIRECTORY}/{outcome}.json"


def note(kept: Kept) -> SnapshotNote:
    """Return what the summary says of a snapshot."""
    return SnapshotNote(
        outcome=kept.outcome,
        at=kept.seen_at,
        file=file_of(kept.outcome),
        essence=list(_essence(kept.state)),
    )


_GAUGES = tuple(
    CATALOGUE[name]
    for name in (
        "ephemeral_ports_in_use",
        "sockstat_TCP_tw",
        "nf_conntrack_entries",
        "listen_queue",
        *(kept.held for kept in SERVER_LIMITS if kept.limit),
    )
)


def _essence(state: State) -> Iterator[Evidence]:
    """Yield how near each limit was, role by role, the fullest first within a role."""
    for role, place in state.places.items():
        yield from sorted(_occupancy(state.t, role, place), key=_fullness, reverse=True)
    for server, values in state.servers.items():
        yield from _gauges(state.t, ROLE_SERVER, values, f" at {server}")


def _occupancy(t: float, role: str, place: NamespaceState) -> Iterable[Evidence]:
    fullest = max(place.pools, key=place.pools.__getitem__, default=None)
    where = f" ({fullest})" if fullest is not None else ""
    for item in _gauges(t, role, place.values, ""):
        if item.metric == "ephemeral_ports_in_use":
            yield msgspec.structs.replace(item, text=item.text + where)
        else:
            yield item


def _gauges(t: float, role: str, values: Mapping[str, Number], where: str) -> Iterator[Evidence]:
    for metric in _GAUGES:
        value, limit = values.get(metric.name), values.get(metric.limit)
        if value is None or limit is None or not (value or limit == 0):
            continue
        text = f"{role}: {value:,} of {limit:,} {metric.title}{where}"
        yield Evidence(metric=metric.name, value=value, limit=limit, role=role, at=t, text=text)


def _fullness(item: Evidence) -> float:
    assert isinstance(item.value, int | float)
    assert isinstance(item.limit, int | float)
    return item.value / item.limit if item.limit else float("inf")
