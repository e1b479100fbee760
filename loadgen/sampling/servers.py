"""A server's own statistics, over one connection to each target for the whole run.

A connection is made once and kept: a sampler that connected anew each time would itself be churn.
It is opened inside the server's namespace where that is known, and then takes no ephemeral port of
the client under test; and it ends with a RST, which leaves none in TIME_WAIT.

A server that is stopped, wedged or gone must not hold up the samples of everything else. So a try
ends at a short timeout, and after a failure the next try waits: 0.5 s, then 1, 2, 4 and 8 s. Nor may
one that answers without end: what is kept of an answer is bounded by its protocol.

An answer costs 0.1 to 0.4 ms of CPU, and the server some more; `Pace` keeps that below
`DEFAULT_SHARE` of one core, however many targets there are.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from loadgen.outcome import Outcome
from loadgen.protocols.exchange import Exchange, ExchangeError, GoneError
from loadgen.protocols.parsing import Reply
from loadgen.protocols.seam import Request, Statistics
from loadgen.protocols.tls import Client
from loadgen.sampling.files import within
from loadgen.sampling.namespace import NamespaceError
from loadgen.sampling.pace import Backoff, Pace
from loadgen.sampling.sock_diag import Endpoint
from loadgen.summary import Number

DEFAULT_TIMEOUT = 0.1
"""Seconds that a server may take to connect, and again to answer."""
DEFAULT_SHARE = 0.0005
"""Of one core, for asking all targets."""


def total(several: Sequence[Mapping[str, Number]]) -> dict[str, Number]:
    """Return the sums over several servers of the metrics that every one of them has."""
    if not several:
        return {}
    common = set(several[0]).intersection(*several[1:])
    return {name: sum(values[name] for values in several) for name in several[0] if name in common}


class _Server:
    """One target and the connection to it."""

    def __init__(
        self,
        target: Endpoint,
        statistics: Statistics,
        client: Client | None,
        namespace: int | None,
        timeout: float,
    ) -> None:
        self._client = client
        self.target = target
        self.reason: str | None = "not asked yet"
        self.backoff = Backoff()
        self._statistics = statistics
        self._namespace = namespace
        self._timeout = timeout
        self._exchange: Exchange | None = None

    def ask(self, now: float) -> dict[str, Number] | None:
        """Return the server's metrics, or None when it did not answer; see `reason`."""
        if not self.backoff.due(now):
            return None
        try:
            reply = self._answer()
        except (ExchangeError, NamespaceError) as error:
            self.close()
            self.backoff.failed(now)
            host, port = self.target
            self.reason = f"{host}:{port} did not answer {self._statistics.command}: {error}"
            return None
        self.backoff.succeeded()
        self.reason = None
        return self._statistics.select(reply.text)

    def _answer(self) -> Reply:
        if self._exchange is not None:
            # A server may end an idle connection, or one that has asked a thousand times. One that
            # does not answer in time is not asked twice: its next turn comes after a pause.
            with suppress(GoneError):
                return self._good(self._exchange, [self._statistics.request])
            self.close()
        exchange = within(
            self._namespace,
            lambda: Exchange(self.target, timeout=self._timeout, resets=True, client=self._client),
        )
        self._exchange = exchange
        opening = self._statistics.opening
        requests = [self._statistics.request]
        return self._good(exchange, requests if opening is None else [opening, *requests])

    def _good(self, exchange: Exchange, requests: Sequence[Request]) -> Reply:
        replies = exchange.ask(requests, timeout=self._timeout)
        for reply in replies:
            if reply.outcome is not Outcome.OK:
                raise ExchangeError(f"it said {reply.detail or reply.name}")
        return replies[-1]

    def close(self) -> None:
        if self._exchange is not None:
            self._exchange.close()
            self._exchange = None


class ServerReader:
    """Sums the statistics of all targets; absent unless every one answers."""

    def __init__(
        self,
        statistics: Statistics,
        targets: Sequence[Endpoint],
        *,
        namespace: int | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        share: float = DEFAULT_SHARE,
        clients: Sequence[Client | None] | None = None,
    ) -> None:
        """Prepare the connections; they are made at the first reading.

        Args:
            statistics: how the servers are asked.
            targets: their addresses and ports.
            namespace: a descriptor of the server's; None for one's own. Must stay open as long as
                the reader, which connects anew after a failure.
            timeout: seconds that a server may take to connect, and again to answer; a reading
                takes at most four times as long, however many targets are silent.
            share: of one core, that asking the targets may use at most, on average.
            clients: for TLS, one a target; None where it is not spoken.
        """
        self.absent: dict[str, str] = {}
        """Metrics that cannot be read at the moment, each with the reason."""
        self.last: dict[Endpoint, dict[str, Number]] = {}
        """What each target answered last, for a snapshot."""
        self._servers = [
            _Server(target, statistics, client, namespace, timeout)
            for target, client in zip(targets, clients or [None] * len(targets), strict=True)
        ]
        self._up, self._targets = f"{statistics.program}_up", f"{statistics.program}_targets"
        self._names = [
            metric.name
            for metric in statistics.metrics
            if metric.name not in {self._up, self._targets}
        ]
        self._command = statistics.command
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
                late = f"other targets took too long to answer {self._command}"
                self.absent = dict.fromkeys((*self._names, self._up), late)
                return {}
            answer = server.ask(moment)
            if answer is not None:
                answers.append(answer)
                self.last[server.target] = answer
        self._pace.paid(moment, time.thread_time() - before)
        values: dict[str, Number] = {self._targets: len(self._servers), self._up: len(answers)}
        reason = next((server.reason for server in self._servers if server.reason), None)
        if reason is None:
            values.update(total(answers))
            reason = "this server has no such statistic"
        self.absent = {name: reason for name in self._names if name not in values}
        return values

    def close(self) -> None:
        """Close the connections."""
        for server in self._servers:
            server.close()
