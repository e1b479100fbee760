"""The effective configuration of a run, as the coordinator works with it and `run.json` keeps it."""

from __future__ import annotations

from typing import Literal

import msgspec

from loadgen import schedule as schedules
from loadgen.target import Target, parse_target

CloseMode = Literal["client", "server", "rst"]
ClientKind = Literal["raw", "pymemcache"]
CLOSE_MODES: dict[CloseMode, str] = {
    "client": "the client's FIN first: TIME_WAIT stays on the client",
    "server": "memcached's FIN first (quit): TIME_WAIT stays on the server",
    "rst": "the client resets (SO_LINGER 0): no TIME_WAIT anywhere",
}


class RunConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every option of `loadgen run`, with the values that were used."""

    targets: list[str]
    addresses: list[tuple[str, int]]
    """The targets resolved, once, before the run."""
    rate: float | None
    """Arrivals per second; None for the closed loop and for schedules that bring their own."""
    closed_loop: bool = False
    concurrency: int = 64
    """Attempts kept under way in the closed loop, all workers together."""
    duration: float
    """Seconds."""
    warmup: float = 0.0
    """Seconds of load before the run, not counted."""
    schedule: str = "constant"
    gets: float = 1.0
    """Share of gets among the requests."""
    op: str = "get"
    key_space: int = 1000
    value_size: int = 100
    requests_per_connection: int = 1
    close: CloseMode = "client"
    client: ClientKind = "raw"
    source_addresses: list[str] = msgspec.field(default_factory=list)
    bind_early: bool = False
    """Bind without IP_BIND_ADDRESS_NO_PORT, as careless clients do."""
    local_port_range: tuple[int, int] | None = None
    """The socket option IP_LOCAL_PORT_RANGE, Linux 6.3 and later."""
    timeout: float = 3.0
    connect_timeout: float = 3.0
    max_lateness: float = 0.1
    """Seconds after which an overdue arrival is dropped."""
    workers: int = 1
    max_in_flight: int
    """Attempts under way, all workers together."""
    thresholds: list[str] = msgspec.field(default_factory=list)
    abort_on_fail: bool = False
    namespaces: dict[str, str] = msgspec.field(default_factory=dict)
    """Other namespaces to sample, by role."""
    sample_interval: float = 0.1
    shard: tuple[int, int] = (0, 1)
    """This generator's index and how many there are, on several machines."""
    seed: int = 1

    def law(self) -> schedules.Schedule:
        """Return the schedule over duration and warm-up together.

        Raises:
            ValueError: when the schedule's text is not one, or needs a rate.
        """
        return schedules.parse_schedule(
            self.schedule,
            rate=self.rate,
            # 0.1 + 0.2 is a hair more than 0.3, and one arrival more would be due in it.
            duration=round(self.warmup + self.duration, 9),
            seed=self.seed,
        )

    def parsed_targets(self) -> list[Target]:
        """Return the targets as records."""
        return [parse_target(text) for text in self.targets]


def parse_mix(text: str) -> float:
    """Return the share of gets that `get`, `set` or `mix:GETS/SETS` means.

    Raises:
        ValueError: when it is none of these.
    """
    if text in {"get", "set"}:
        return 1.0 if text == "get" else 0.0
    law, _, rest = text.partition(":")
    gets, _, sets = rest.partition("/")
    if law == "mix" and gets.isdecimal() and sets.isdecimal() and int(gets) + int(sets) > 0:
        return int(gets) / (int(gets) + int(sets))
    raise ValueError(f"{text!r} is not an operation: write get, set or mix:90/10")
