"""memcached's own statistics, over one connection for the whole run.

A connection is made once and kept: a sampler that connected anew each time would itself be churn.
It is opened inside the server's namespace where that is known, and then takes no ephemeral port of
the client under test.

A server that is stopped, wedged or gone must not hold up the samples of everything else. So a try
ends at a short timeout, and after a failure the next try waits: 0.5 s, then 1, 2, 4 and 8 s.

pymemcache's `stats` costs 0.2 to 0.4 ms of CPU, and the server some more; `Pace` keeps that below
`DEFAULT_SHARE` of one core, however many targets there are. (Its `raw_command` would spare the
parsing, but loses what it has read when a reply comes in two pieces, as of version 4.0.)
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping, Sequence
from types import SimpleNamespace

from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheError

from loadgen.metrics import MEMCACHED
from loadgen.sampling.files import within
from loadgen.sampling.namespace import NamespaceError
from loadgen.sampling.pace import Backoff, Pace
from loadgen.sampling.sock_diag import Endpoint
from loadgen.summary import Number

DEFAULT_TIMEOUT = 0.1
"""Seconds that a server may take to connect, and again to answer."""
DEFAULT_SHARE = 0.0005
"""Of one core, for asking all targets."""

_PREFIX = "memcached_"
_OWN = {"memcached_up", "memcached_targets"}
_FIELDS = {
    metric.name.removeprefix(_PREFIX).encode("ascii"): metric.name
    for metric in MEMCACHED
    if metric.name not in _OWN
}


def select(stats: Mapping[bytes, object]) -> dict[str, Number]:
    """Return the catalogue's metrics from what `stats` answered; others are passed over."""
    values: dict[str, Number] = {}
    for field, name in _FIELDS.items():
        value = stats.get(field)
        if isinstance(value, int | float):
            values[name] = value
    return values


def total(several: Sequence[Mapping[str, Number]]) -> dict[str, Number]:
    """Return the sums over several servers of the metrics that every one of them has."""
    if not several:
        return {}
    common = set(several[0]).intersection(*several[1:])
    return {name: sum(values[name] for values in several) for name in several[0] if name in common}


class _PatientSocket(socket.socket):
    """A socket whose reads all together end at one deadline, not each at a timeout of its own.

    A server that sends a byte now and then, or never stops sending, would otherwise hold its
    reader for ever.
    """

    deadline = float("inf")

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Return what is there, or raise TimeoutError once the deadline has passed."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("too slow an answer")
        self.settimeout(left)
        return super().recv(size, flags)


class _Server:
    """One target and the connection to it."""

    def __init__(self, target: Endpoint, namespace: int | None, timeout: float) -> None:
        self.target = target
        self.reason: str | None = "not asked yet"
        self.backoff = Backoff()
        self._namespace = namespace
        self._timeout = timeout
        self._deadline = float("inf")
        self._client = Client(
            target,
            connect_timeout=timeout,
            timeout=timeout,
            no_delay=True,
            # pymemcache takes any module that looks like `socket`.
            socket_module=SimpleNamespace(**{**vars(socket), "socket": self._socket}),
        )

    def _socket(self, *kind: int) -> _PatientSocket:
        made = _PatientSocket(*kind)
        made.deadline = self._deadline
        return made

    def ask(self, now: float) -> dict[str, Number] | None:
        """Return the server's metrics, or None when it did not answer; see `reason`."""
        if not self.backoff.due(now):
            return None
        self._deadline = time.monotonic() + self._timeout
        try:
            if self._client.sock is None:
                # The one call that opens the socket; it stays in the namespace it was opened in.
                answer = within(self._namespace, self._client.stats)
            else:
                self._client.sock.deadline = self._deadline
                answer = self._client.stats()
        except (OSError, MemcacheError, NamespaceError, ValueError, IndexError) as error:
            # ValueError and IndexError: what pymemcache makes of an answer that is no memcached's.
            self.close()
            self.backoff.failed(now)
            said = str(error) or type(error).__name__
            self.reason = f"{self.target[0]}:{self.target[1]} did not answer stats: {said}"
            return None
        self.backoff.succeeded()
        self.reason = None
        return select(answer)

    def close(self) -> None:
        self._client.close()


class MemcachedReader:
    """Sums the statistics of all targets; absent unless every one answers."""

    def __init__(
        self,
        targets: Sequence[Endpoint],
        *,
        namespace: int | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        share: float = DEFAULT_SHARE,
    ) -> None:
        """Prepare the connections; they are made at the first reading.

        Args:
            targets: addresses and ports of the servers.
            namespace: a descriptor of the server's; None for one's own. Must stay open as long as
                the reader, which connects anew after a failure.
            timeout: seconds that a server may take to connect, and again to answer; a reading
                takes at most four times as long, however many targets are silent.
            share: of one core, that asking the targets may use at most, on average.
        """
        self.absent: dict[str, str] = {}
        """Metrics that cannot be read at the moment, each with the reason."""
        self.last: dict[Endpoint, dict[str, Number]] = {}
        """What each target answered last, for a snapshot."""
        self._servers = [_Server(target, namespace, timeout) for target in targets]
        self._timeout = timeout
        self._pace = Pace(share)

    def read(self, *, now: float | None = None, force: bool = False) -> dict[str, Number]:
        """Return one reading, empty when the next is not due yet. Never raises.

        Args:
            now: seconds of CLOCK_MONOTONIC, when the caller has just read it.
            force: ask even when it is not due; a target that failed still has its pause.
        """
        moment = time.monotonic() if now is None else now
        if not self._servers or not (force or self._pace.due(moment)):
            return {}
        before = time.thread_time()
        give_up = time.monotonic() + 2 * self._timeout
        answers = []
        for server in self._servers:
            if time.monotonic() > give_up:
                # Those that were slow pause now, so the rest has its turn at the next reading.
                late = "other targets took too long to answer stats"
                self.absent = dict.fromkeys((*_FIELDS.values(), "memcached_up"), late)
                return {}
            answer = server.ask(moment)
            if answer is not None:
                answers.append(answer)
                self.last[server.target] = answer
        self._pace.paid(moment, time.thread_time() - before)
        values: dict[str, Number] = {
            "memcached_targets": len(self._servers),
            "memcached_up": len(answers),
        }
        reason = next((server.reason for server in self._servers if server.reason), None)
        if reason is None:
            values.update(total(answers))
            reason = "this server has no such statistic"
        self.absent = {name: reason for name in _FIELDS.values() if name not in values}
        return values

    def close(self) -> None:
        """Close the connections."""
        for server in self._servers:
            server.close()
