"""The records of `summary.json`: the result of one run. Schema `churnlab.run/1`.

Times are seconds, counts are plain integers, rates are per second. The equations that hold in
every valid summary, and that `Summary.unaccounted` checks:

    scheduled = started + dropped
    started   = ok + failed + unfinished
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from loadgen.config import RunConfig
from loadgen.units import Count, Moment, Real, Seconds

SCHEMA: Final = "churnlab.run/1"

Validity = Literal["valid", "generator_limited", "partial"]
Blame = Literal["generator", "client_host", "network", "server_host", "server"]
Number = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | Real
"""A reading: what a kernel's counter of 64 bits can hold."""


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all records that are written to a file."""


class Losses:
    """What was lost of what was due: for every record that counts the three."""

    __slots__ = ()
    scheduled: int
    failed: int
    dropped: int

    @property
    def lost(self) -> int:
        """Attempts that failed and arrivals that were dropped: whom a user would have missed."""
        return self.failed + self.dropped

    @property
    def lost_share(self) -> float | None:
        """Lost of scheduled, 0 to 1; None where no arrival was due, and nothing can be said."""
        return self.lost / self.scheduled if self.scheduled else None


class Rate(Record, frozen=True, kw_only=True):
    """Connections per second. `achieved` counts only those that ended ok."""

    target: Real | None
    """Asked for, averaged over the schedule; None in the closed loop."""
    offered: Real
    """Arrivals due per second of the schedule."""
    achieved: Real


class Latency(Record, frozen=True, kw_only=True):
    """Percentiles of one latency, in seconds from the intended start of the attempt."""

    count: Count
    mean: Seconds
    p50: Seconds
    p90: Seconds
    p99: Seconds
    p99_9: Seconds
    max: Seconds


class Evidence(Record, frozen=True, kw_only=True):
    """One reading that supports a cause."""

    metric: str
    value: Number | str
    limit: Number | str | None = None
    """What the value ran into, where the kernel has such a limit."""
    role: str
    """Whose namespace it was read in: client, server, host or generator."""
    at: Moment | None = None
    """Seconds since the run's start; None when it holds for the whole run."""
    text: str
    """The same in one plain sentence."""


class CauseShare(Record, frozen=True, kw_only=True):
    """How much of a cause one shard of a fleet had."""

    shard: Count
    """From 1 on."""
    node: str
    connections: Count


class Cause(Record, frozen=True, kw_only=True):
    """Which limit ended (or prevented) attempts, with the evidence for it."""

    cause: str
    fault: Blame
    connections: Count
    """Failed attempts and dropped arrivals that this cause explains.

    0 for a limit that was reached without failing anyone, such as tcp_max_tw_buckets: the success
    that follows from it is not what it seems."""
    first_at: Moment | None
    evidence: list[Evidence]
    remedy: str
    """The setting that helps, and its price."""
    title: str
    """One line for people."""
    shards: list[CauseShare] = msgspec.field(default_factory=list)
    """Of a fleet: whose connections they were; empty for a run of one generator."""


class Explanation(Record, frozen=True, kw_only=True):
    """Why attempts succeeded where a limit was near: reuse, RST, server-side TIME_WAIT."""

    name: str
    text: str
    evidence: list[Evidence]


class SnapshotNote(Record, frozen=True, kw_only=True):
    """The kernel's full state at the first connection of an outcome, as far as a reader needs it."""

    outcome: str
    """The outcome, or `dropped_` and the reason for the first dropped arrival."""
    at: Moment
    """Seconds since the run's start, of the tick that showed it first."""
    file: str
    """Where the whole is, in the run directory."""
    essence: list[Evidence]
    """How near each limit was."""


class Notice(Record, frozen=True, kw_only=True):
    """Something a reader should know before believing the numbers."""

    code: str
    text: str
    remedy: str


class MetricRange(Record, frozen=True, kw_only=True):
    """One kernel metric over the run."""

    first: Number
    last: Number
    min: Number
    max: Number
    delta: int | float


class TlsUse(Record, frozen=True, kw_only=True):
    """What TLS cost the generator."""

    handshakes: Count
    """Finished."""
    resumed: Count
    """Of these, how many took up an earlier session."""
    cpu_seconds: Real
    """Of all workers, for handshakes only; part of their CPU time."""


class Generator(Record, frozen=True, kw_only=True):
    """The generator's own resource use."""

    workers: Count
    cpu_user: Real
    """Seconds of CPU in user mode, all workers."""
    cpu_system: Real
    connect_call_seconds: Real
    """Wall time spent inside connect(), all workers: the kernel's port search shows here."""
    tls: TlsUse | None = None
    """None where it was not spoken."""
    saturated: bool
    reasons: list[str]
    limit: str = ""
    """What kept the run from going faster, in one sentence."""


class ThresholdResult(Record, frozen=True, kw_only=True):
    """One `--threshold` and its result."""

    expression: str
    value: Real | None
    passed: bool = msgspec.field(name="pass")


class Clock(Record, frozen=True, kw_only=True):
    """A node's clock against that of the control machine; seconds."""

    offset: Real
    """What the node's wall clock shows more than control's; the start was corrected by it."""
    uncertainty: Real
    """Half of the quickest answer's round trip: the offset is right to within this."""
    drift: Real | None = None
    """How far the two clocks moved apart during the run; None when it was not measured twice."""


class ShardNote(Record, frozen=True, kw_only=True):
    """One shard of a fleet, and its share of the load."""

    shard: Count
    """From 1 on."""
    node: str
    state: Literal["whole", "partial", "missing"]
    said: str = ""
    """Why it is not whole, in one line."""
    directory: str = ""
    """Its run directory, from that of the fleet; empty when nothing came home."""
    scheduled: Count
    """Its share of the arrivals, with those that nobody was there to start."""
    ok: Count
    failed: Count
    dropped: Count
    not_started: Count
    """Of `dropped`: due while the shard was dead or not yet there."""
    unfinished: Count
    clock: Clock | None = None


class Verdict(Record, frozen=True, kw_only=True):
    """Pass or fail; true when no threshold was given."""

    passed: bool = msgspec.field(name="pass")
    thresholds: list[ThresholdResult]


class Environment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a run took place, as far as it matters for comparing it with another.

    What a run of another version says beyond this is passed over; what it does not say is None.
    """

    host: str | None = None
    kernel: str | None = None
    """The release, such as 6.18.44."""
    kernel_build: str | None = None
    architecture: str | None = None
    processor: str | None = None
    cpus: Count | None = None
    """That the generator may run on."""
    memory_kib: Count | None = None
    python: str | None = None
    trio: str | None = None
    churnlab: str | None = None
    """Versions."""
    behaviour: dict[str, bool] | None = None
    """What the kernel was seen to do when it looks for a port, by the fields of `search.Kernel`; None
    where it was not tried, and its release has to tell."""
    guest: dict[str, str] | None = None
    """In a virtual machine, what is known of the machine around it: `accelerator` (kvm or emulation),
    `host`, `host_kernel`, …"""


EMULATED: Final = "emulation"
"""What `environment["guest"]["accelerator"]` is where processors are emulated."""
EMULATED_WORDS: Final = (
    "measured on emulated processors: what is counted holds, but times and what a machine can "
    "carry are the emulator's"
)


def emulated(environment: Environment) -> bool:
    """Whether this was measured on emulated processors, so that no time in it is a kernel's."""
    return (environment.guest or {}).get("accelerator") == EMULATED


class Summary(Losses, Record, frozen=True, kw_only=True):
    """`summary.json`."""

    schema: Literal["churnlab.run/1"] = SCHEMA
    config: RunConfig
    environment: Environment
    scheduled: Count
    started: Count
    ok: Count
    failed: Count
    unfinished: Count
    dropped: Count
    drops: dict[str, Count]
    """`dropped` by reason: overdue, in_flight; of a fleet also not_started."""
    elapsed: Seconds
    """Seconds from the first arrival's due time to the end of the last attempt."""
    rate: Rate
    outcomes: dict[str, Count]
    errors: dict[str, Count]
    """What went wrong in the words of the kernel or the server: EADDRNOTAVAIL, HTTP 503, WRONGPASS."""
    replies: dict[str, Count]
    """Good answers by what they were: hit, miss, stored; pong; 2xx, 3xx; expected, connected."""
    first_failure_at: Moment | None
    """Seconds; of the first failed attempt or dropped arrival."""
    started_before_first_failure: Count | None
    causes: list[Cause]
    explanations: list[Explanation]
    snapshots: list[SnapshotNote] = msgspec.field(default_factory=list)
    """One for each failing outcome, in the order in which they came."""
    latency: dict[str, Latency]
    lateness: Latency | None
    kernel: dict[str, dict[str, MetricRange]]
    generator: Generator
    warnings: list[Notice]
    validity: Validity
    verdict: Verdict
    shards: list[ShardNote] = msgspec.field(default_factory=list)
    """Of a fleet, in order; empty for a run of one generator."""

    def unaccounted(self) -> int:
        """Return how many arrivals or attempts the two equations leave over; 0 when they hold."""
        return abs(self.scheduled - self.started - self.dropped) + abs(
            self.started - self.ok - self.failed - self.unfinished
        )


def encode(record: msgspec.Struct) -> bytes:
    """Return the record as indented JSON, ready to be read by people and programs."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def decode(data: bytes) -> Summary:
    """Read a `summary.json`.

    Raises:
        msgspec.ValidationError: when the data is not this schema; the message names the field.
    """
    return msgspec.json.decode(data, type=Summary)
