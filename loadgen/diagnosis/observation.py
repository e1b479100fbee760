"""What a diagnosis has to go by, and the ledger that keeps it from explaining anything twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from loadgen.accounting.messages import Totals
from loadgen.accounting.sums import PREFIX
from loadgen.config import RunConfig
from loadgen.diagnosis.causes import UNSEEN
from loadgen.diagnosis.honesty import Attribution
from loadgen.diagnosis.series import NEVER_READ, Series
from loadgen.outcome import Outcome, described
from loadgen.sample import MIDDLE_ROLES, ROLE_CLIENT, ROLE_GENERATOR, ROLE_SERVER, Sample
from loadgen.sampling.pace import Backoff
from loadgen.summary import Cause, Evidence, Latency, MetricRange, Number
from loadgen.target import is_loopback

_ALWAYS_READ = "netstat_Tcp_InSegs"
"""A metric that every namespace has: where it was sampled, the namespace was."""
_TIME_WAIT = "netstat_TcpExt_TW"
_SERVED = (_TIME_WAIT, "netstat_Tcp_EstabResets", "netstat_TcpExt_TCPAbortOnData")
"""Counters that move where a program closes its side first, or writes to a peer that has gone."""
_GIVEN_UP = 3
"""What a connection for statistics adds to these when it is given up with a RST: made inside the
server's namespace, it ends there twice (two EstabResets), and once with data (TCPAbortOnData)."""
_SETTLES = 0.15
"""Seconds after a server stopped in which it may still have answered."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One run, as the rules see it."""

    config: RunConfig
    totals: Totals
    attribution: Attribution
    samples: Mapping[str, Sequence[Sample]]
    """By role, in the order of time."""
    series: Mapping[str, Mapping[str, Series]]
    """The same by role and metric."""
    kernel: Mapping[str, Mapping[str, MetricRange]]
    sysctls: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """In force when the run began, by role."""
    latency: Mapping[str, Latency] = field(default_factory=dict)
    """Of the attempts that ended ok, from the intended start; by tag, lateness included."""
    spoken: Mapping[str, str] = field(default_factory=dict)
    """What servers speak that do not speak memcached's text, by `host:port`."""

    # --- whose namespaces were seen ---------------------------------------------------------

    @property
    def server(self) -> str | None:
        """The role whose samples tell of the server's namespace; None where none does.

        Toward 127/8 the server shares the client's namespace, and its counters.
        """
        if self.metric(_ALWAYS_READ, ROLE_SERVER) is not None:
            return ROLE_SERVER
        hosts = [host for host, _ in self.config.addresses]
        return ROLE_CLIENT if all(map(is_loopback, hosts)) else None

    @property
    def middle(self) -> tuple[str, ...]:
        """The roles of the boxes on the way that were sampled."""
        return tuple(role for role in MIDDLE_ROLES if self.metric(_ALWAYS_READ, role) is not None)

    @property
    def places(self) -> tuple[str, ...]:
        """The roles of all namespaces on the way that were sampled, the client's first."""
        last = () if self.server in {None, ROLE_CLIENT} else (ROLE_SERVER,)
        return (ROLE_CLIENT, *self.middle, *last)

    @property
    def unseen(self) -> Mapping[str, str]:
        """The words of a remedy for what the client alone cannot tell; none where others were seen."""
        return UNSEEN if self.server is None and not self.middle else {}

    def setting(self, name: str, role: str | None) -> str | None:
        """Return a sysctl that was in force in a role's namespace, None where nobody knows."""
        return None if role is None else self.sysctls.get(role, {}).get(name)

    # --- the kernel's counters --------------------------------------------------------------

    def metric(self, name: str, role: str = ROLE_CLIENT) -> MetricRange | None:
        """Return a kernel metric over the whole record, or None where it was not read."""
        return self.kernel.get(role, {}).get(name)

    def _like(self, name: str, role: str | None) -> Iterator[Series]:
        """Yield a metric's series of a role, and of the same role of other shards (`client@2`)."""
        for label, metrics in self.series.items():
            if label.partition("@")[0] == role and name in metrics:
                yield metrics[name]

    def _generator(self, name: str) -> Series:
        """Return the series of one of the generator's counters."""
        return self.series.get(ROLE_GENERATOR, {}).get(PREFIX + name, NEVER_READ)

    def change(
        self, name: str, role: str | None = ROLE_CLIENT, since: float = 0.0, until: float = 1e9
    ) -> Number:
        """Return how far a counter moved from the moment `since` on; 0 where it was not read.

        The clients of several shards are different hosts, and add up; their views of a server are
        views of the same one, and do not.
        """
        moved = [series.moved(since, until) for series in self._like(name, role)]
        return sum(moved) if role == ROLE_CLIENT else max(moved, default=0)

    def standing(self, name: str, role: str | None = ROLE_CLIENT) -> Number | None:
        """Return where a gauge stood before the first arrival; None where it was not read then."""
        return self.series.get(role or "", {}).get(name, NEVER_READ).before(0.0)

    def moved_at(self, name: str, role: str | None = ROLE_CLIENT) -> float | None:
        """Return when a counter was first seen above where it stood at the run's start."""
        moments = (series.rose_at() for series in self._like(name, role))
        return min((moment for moment in moments if moment is not None), default=None)

    def most(self, name: str, role: str | None = ROLE_CLIENT) -> Evidence | None:
        """Return the highest reading of a gauge as evidence, or None where it was not read."""
        found = self.series.get(role or "", {}).get(name, NEVER_READ).most()
        if found is None:
            return None
        value, at = found
        return Evidence(
            metric=name,
            value=value,
            role=role or "",
            at=at,
            text=f"{name} reached {value:,}",
        )

    def counter(self, name: str, role: str | None, text: str, since: float = 0.0) -> Evidence:
        """Return a counter's change as evidence; `text` says what it counts, {n} the number."""
        value = self.change(name, role, since)
        return Evidence(
            metric=name,
            value=value,
            role=role or "",
            at=self.moved_at(name, role),
            text=text.format(n=f"{value:,}"),
        )

    # --- the generator's counters -----------------------------------------------------------

    def first_at(self, name: str) -> float | None:
        """Return when a counter of the generator was first seen above 0; None if never."""
        return self._generator(name).above(0)

    def generated(self, name: str, since: float = 0.0, until: float = 1e9) -> Number:
        """Return how far a counter of the generator moved between two moments."""
        return self._generator(name).moved(since, until, missing=0)

    def increments(self, outcome: Outcome) -> list[tuple[float, int]]:
        """Return when, and by how many, an outcome's count grew."""
        grown = self._generator(f"outcome_{outcome}").increments()
        return [(t, int(count)) for t, count in grown]

    def silent(self, outcome: Outcome) -> int:
        """Return how many attempts timed out while the server did nothing that anyone could see.

        An attempt that timed out began a timeout earlier. An attempt answered in that time shows a
        server that is slow; so does a connection that it closed, or wrote to after the client had
        given up, which a server does that works through a backlog of abandoned requests. Without a
        sample in that time there is nothing to go by, and the server counts as slow.
        """
        connecting = outcome is Outcome.CONNECT_TIMEOUT
        config = self.config
        limit = min(config.timeout, config.connect_timeout) if connecting else config.timeout
        answered = self._generator("ok")
        found = 0
        for t, count in self.increments(outcome):
            since = t - limit + _SETTLES
            if answered.still(since, t) and not self._served(since, t):
                found += count
        return found

    def _served(self, since: float, until: float) -> bool:
        """Return whether the server's program did something to its connections meanwhile."""
        names = [name for name in _SERVED if self.server == ROLE_SERVER or name != _TIME_WAIT]
        # The sampler's own connections to the servers end in the same counters when it gives up.
        # One fails at once, the next after a pause; one more ends with the run.
        tries = 2 + int((until - since) / Backoff.FIRST)
        own = _GIVEN_UP * len(self.config.addresses) * tries
        return sum(self.change(name, self.server, since, until) for name in names) > own

    def count_evidence(self, outcome: str, count: int) -> Evidence:
        """Return an outcome's count as evidence."""
        return Evidence(
            metric=f"{PREFIX}outcome_{outcome}",
            value=count,
            role=ROLE_GENERATOR,
            at=self.first_at(f"outcome_{outcome}"),
            text=f"{count:,} × {described(outcome)}",
        )


@dataclass(slots=True)
class Ledger:
    """Failed attempts and dropped arrivals that no cause has explained yet."""

    outcomes: dict[str, int]
    port_search_drops: int
    in_flight_drops: int
    generator_drops: int
    ruled_out: list[str] = field(default_factory=list)
    """What rules looked for and did not find, for the failures that are left in the end."""
    hanging: list[Cause] = field(default_factory=list)
    """Causes of attempts that hung until their deadline and so held their place in flight."""

    @classmethod
    def of(cls, observation: Observation) -> Ledger:
        """Return the ledger with everything still open."""
        attribution = observation.attribution
        return cls(
            dict(observation.totals.outcomes),
            attribution.port_search,
            attribution.in_flight,
            attribution.generator,
        )

    def open(self, *outcomes: Outcome) -> int:
        """Return how many failures of these outcomes are still open."""
        return sum(self.outcomes.get(outcome, 0) for outcome in outcomes)

    def take(self, outcomes: Iterable[str], most: int | None = None) -> int:
        """Take up to `most` failures of these outcomes off the ledger; return how many."""
        taken = 0
        for outcome in outcomes:
            open_here = self.outcomes.get(outcome, 0)
            share = open_here if most is None else min(open_here, most - taken)
            if share:
                self.outcomes[outcome] = open_here - share
                taken += share
        return taken
