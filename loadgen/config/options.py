"""A run as it is asked for, and as it is carried out.

`LoadOptions` is what somebody asks of `loadgen run`, in the words of its command line; `RunConfig` is
the effective configuration, names resolved and bounds found, which the coordinator works with and
`run.json` keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from loadgen.config import schedule as schedules
from loadgen.target import Network, Target, is_loopback, parse_target
from loadgen.units import LONGEST, Count, Seconds, exact, whole

CloseMode = Literal["client", "server", "rst"]
ClientKind = Literal["raw", "pymemcache"]
Port = Annotated[int, Meta(ge=0, le=65535)]
Share = Annotated[float, Meta(ge=0, le=1)]
Several = Annotated[int, Meta(ge=1, le=2**53)]
Workers = Annotated[int, Meta(ge=1, le=4096)]
MAX_SHARDS: Final = 100_000
Rate = Annotated[float, Meta(gt=0, le=schedules.MOST_RATE * MAX_SHARDS)]
"""Of a run; of all its shards together."""
Span = Annotated[float, Meta(ge=1e-6, le=LONGEST)]
"""Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """What is asked of `loadgen run`: the load, where it goes and how it is watched.

    The defaults are the command's own, so options that somebody does not care about are left to it.
    """

    targets: tuple[str, ...] = ()
    """None for 127.0.0.1:11211."""
    rate: float | Literal["max"] | None = None
    """Arrivals per second; `max` for the closed loop; None for 1,000, or the schedule's own."""
    duration: float = 10.0
    """Seconds."""
    schedule: str = "constant"
    concurrency: int = 64
    warmup: float = 0.0
    """Seconds."""
    op: str | None = None
    """None for what the protocol usually does: get, or just connect."""
    key_space: int = 1000
    value_size: int = 100
    """Bytes."""
    send: str = ""
    """In the form of `loadgen.units.parse_bytes`, or @FILE."""
    expect: str = ""
    """In the same forms."""
    http_host: str = ""
    status_path: str = ""
    tls: bool = False
    tls_ca: str = ""
    tls_name: str = ""
    tls_insecure: bool = False
    tls_resume: bool = False
    password_file: str | None = None
    requests_per_connection: int = 1
    close: CloseMode = "client"
    client: ClientKind = "raw"
    source_addresses: tuple[str, ...] = ()
    bind_early: bool = False
    local_port_range: tuple[int, int] | None = None
    timeout: float = 3.0
    """Seconds."""
    connect_timeout: float | None = None
    """Seconds; None for `timeout`."""
    max_lateness: float = 0.1
    """Seconds."""
    workers: int | None = None
    """None for one a CPU, or half of that where the servers share the machine."""
    max_in_flight: int | None = None
    """None for what open files allow."""
    namespaces: tuple[str, ...] = ()
    """`ROLE=NAME`, or a name alone for the server's."""
    sample_interval: float = 0.1
    """Seconds."""
    thresholds: tuple[str, ...] = ()
    abort_on_fail: bool = False
    allowed: tuple[Network, ...] = ()
    """Networks that load may go to besides loopback and 198.18.0.0/15."""
    shard: tuple[int, int] = (0, 1)
    """This generator's index, from 0, and how many there are."""
    seed: int = 1

    def arguments(self) -> list[str]:
        """Return the words after `loadgen run` that ask for this; defaults are left out."""
        words = list(self.targets)
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "targets" or value == field.default:
                continue
            flag, write = _WRITTEN[field.name]
            # `--flag=value`, so that a value that begins with a dash is not taken for an option.
            if value is True:
                words.append(flag)
            elif field.name in _REPEATED:
                words += [f"{flag}={write(item)}" for item in value]
            else:
                words.append(f"{flag}={write(value)}")
        return words


def _seconds(value: float) -> str:
    return f"{exact(value)}s"


_WRITTEN: Final[dict[str, tuple[str, Callable[[Any], str]]]] = {
    "rate": ("--rate", lambda rate: rate if rate == "max" else exact(rate)),
    "duration": ("--duration", _seconds),
    "schedule": ("--schedule", str),
    "concurrency": ("--concurrency", str),
    "warmup": ("--warmup", _seconds),
    "op": ("--op", str),
    "key_space": ("--key-space", str),
    "value_size": ("--value-size", str),
    "send": ("--send", str),
    "expect": ("--expect", str),
    "http_host": ("--http-host", str),
    "tls": ("--tls", str),
    "tls_ca": ("--tls-ca", str),
    "tls_name": ("--tls-name", str),
    "tls_insecure": ("--tls-insecure", str),
    "tls_resume": ("--tls-resume", str),
    "status_path": ("--status-path", str),
    "password_file": ("--password-file", str),
    "requests_per_connection": ("--requests-per-connection", str),
    "close": ("--close", str),
    "client": ("--client", str),
    "source_addresses": ("--source-ip", str),
    "bind_early": ("--bind-early", str),
    "local_port_range": ("--local-port-range", "{0[0]}-{0[1]}".format),
    "timeout": ("--timeout", _seconds),
    "connect_timeout": ("--connect-timeout", _seconds),
    "max_lateness": ("--max-lateness", _seconds),
    "workers": ("--workers", str),
    "max_in_flight": ("--max-in-flight", str),
    "namespaces": ("--netns", str),
    "sample_interval": ("--interval", _seconds),
    "thresholds": ("--threshold", str),
    "abort_on_fail": ("--abort-on-fail", str),
    "allowed": ("--allow-target", str),
    "shard": ("--shard", lambda shard: f"{shard[0] + 1}/{shard[1]}"),
    "seed": ("--seed", str),
}
"""The flag of each option, and how its value is written."""
_REPEATED: Final = frozenset({"source_addresses", "namespaces", "thresholds", "allowed"})


class TlsOptions(msgspec.Struct, frozen=True):
    """How TLS is spoken."""

    ca: str = ""
    """A file of certificates that are trusted; the system's if empty."""
    name: str = ""
    """That the certificate must have, and that is asked for (SNI); the target's host if empty."""
    verify: bool = True
    resume: bool = False
    """Take up the session of an earlier connection."""


class RunConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Every option of `loadgen run`, with the values that were used.

    What a run of another version says beyond this is passed over.
    """

    targets: list[str]
    addresses: list[tuple[str, Port]]
    """The targets resolved, once, before the run."""
    protocol: str = "memcached"
    """What is spoken with them, a name of `loadgen.protocols.PROTOCOLS`."""
    rate: Rate | None
    """Arrivals per second; None for the closed loop and for schedules that bring their own."""
    closed_loop: bool = False
    concurrency: Several = 64
    """Attempts kept under way in the closed loop, all workers together."""
    duration: Span
    """Seconds."""
    warmup: Seconds = 0.0
    """Seconds of load before the run, not counted."""
    schedule: str = "constant"
    gets: Share = 1.0
    """Share of gets among the requests."""
    op: str = "get"
    key_space: Several = 1000
    value_size: Count = 100
    send: str = ""
    """What tcp sends, in the form of `loadgen.units.parse_bytes`."""
    expect: str = ""
    """What its answer must begin with, in the same form; none is awaited if empty."""
    http_host: str = ""
    """The Host of HTTP requests; the target's own if empty."""
    tls: TlsOptions | None = None
    """None where TLS is not spoken."""
    status_path: str = ""
    """Where nginx' stub_status is, on each target; not asked if empty."""
    requests_per_connection: Several = 1
    close: CloseMode = "client"
    client: ClientKind = "raw"
    source_addresses: list[str] = msgspec.field(default_factory=list)
    bind_early: bool = False
    """Bind without IP_BIND_ADDRESS_NO_PORT, as careless clients do."""
    local_port_range: tuple[Port, Port] | None = None
    """The socket option IP_LOCAL_PORT_RANGE, Linux 6.3 and later."""
    timeout: Span = 3.0
    connect_timeout: Span = 3.0
    max_lateness: Seconds = 0.1
    """Seconds after which an overdue arrival is dropped."""
    workers: Workers = 1
    max_in_flight: Several
    """Attempts under way, all workers together."""
    thresholds: list[str] = msgspec.field(default_factory=list)
    abort_on_fail: bool = False
    namespaces: dict[str, str] = msgspec.field(default_factory=dict)
    """Other namespaces to sample, by role."""
    sample_interval: Span = 0.1
    shard: tuple[Count, Several] = (0, 1)
    """This generator's index and how many there are, on several machines."""
    seed: int = 1

    def __post_init__(self) -> None:
        """Check what one field alone does not show, wherever the configuration comes from.

        Raises:
            ValueError: for a schedule or an address that is none, or a shard that is not one of so many.
        """
        if not self.closed_loop:
            self.law()
        for host, _ in self.addresses:
            is_loopback(host)
        if self.shard[0] >= self.shard[1]:
            raise ValueError(f"shard {self.shard[0]} of {self.shard[1]}, counted from 0")

    def law(self) -> schedules.Law:
        """Return the schedule over duration and warm-up together.

        Raises:
            ValueError: for an unknown schedule, or one that needs a rate.
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
    first, second = whole(gets), whole(sets)
    if law == "mix" and first is not None and second is not None and first + second > 0:
        return first / (first + second)
    raise ValueError(f"{text!r} is not an operation: write get, set or mix:90/10")
