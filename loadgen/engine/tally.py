"""What one worker counts: attempts, outcomes, replies and latencies."""

from __future__ import annotations

import time
from collections.abc import Callable

from loadgen.accounting.latency import BUCKET_OF, BUCKETS, slow_bucket, sparse
from loadgen.accounting.messages import TAGS, Totals
from loadgen.outcome import Outcome, errno_name
from loadgen.protocols.tls import Session

_TABLE = len(BUCKET_OF)
_MOST_ERRORS = 64
"""Different errors that are told apart: a server may call each of its errors something else."""
_OTHER = "other"


class Tally:
    """The counts of one worker's run.

    The hot loop counts the usual life of an attempt itself, on `totals`, `counts` and `replies`;
    everybody else calls the methods.

    Args:
        clock: CLOCK_MONOTONIC, in seconds.
    """

    __slots__ = ("clock", "counts", "origin", "replies", "totals")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.origin = 0.0
        """When the counted run starts, on the clock."""
        self.totals = Totals()
        self.counts = {tag: [0] * BUCKETS for tag in TAGS}
        """Latencies by tag, dense."""
        self.replies: dict[str, int] = {}

    @property
    def in_flight(self) -> int:
        """Attempts of the counted run that are under way."""
        return self.totals.started - self.totals.ok - self.totals.failed

    @property
    def elapsed(self) -> float:
        """Seconds since the counted run's start."""
        return self.clock() - self.origin

    def account(self) -> Totals:
        """Return the totals as they stand."""
        totals = self.totals
        totals.scheduled = totals.started + totals.dropped
        totals.unfinished = self.in_flight
        totals.replies = {name: count for name, count in self.replies.items() if count}
        return totals

    def take_histograms(self) -> dict[str, dict[int, int]]:
        """Return what was counted since the last call, by tag, and begin anew."""
        taken = {tag: sparse(counts) for tag, counts in self.counts.items()}
        for tag, counts in taken.items():
            dense = self.counts[tag]
            for index in counts:
                dense[index] = 0
        return taken

    def record(self, tag: str, seconds: float) -> None:
        """Count a latency."""
        microseconds = int(seconds * 1e6)
        if 0 <= microseconds < _TABLE:
            self.counts[tag][BUCKET_OF[microseconds]] += 1
        else:
            self.counts[tag][slow_bucket(microseconds)] += 1

    def reply(self, name: str) -> None:
        """Count a good reply."""
        self.replies[name] = self.replies.get(name, 0) + 1

    def drop(self, due: float, now: float, reason: str) -> None:
        """Count an arrival that was due at `due` and is not started; none of the warm-up's."""
        if due < self.origin:
            return
        totals = self.totals
        totals.dropped += 1
        totals.drops[reason] = totals.drops.get(reason, 0) + 1
        self._note_failure(now)

    def success(self, intended: float) -> None:
        """Count an attempt that ended ok just now."""
        self.totals.ok += 1
        self.record("total", self.clock() - intended)

    def failure(self, outcome: Outcome) -> None:
        """Count an attempt that failed just now."""
        totals = self.totals
        totals.failed += 1
        totals.outcomes[outcome] = totals.outcomes.get(outcome, 0) + 1
        self._note_failure(self.clock())

    def error(self, name: str) -> None:
        """Count the kernel's or the server's own word for what went wrong."""
        errors = self.totals.errors
        if name not in errors and len(errors) >= _MOST_ERRORS:
            name = _OTHER
        errors[name] = errors.get(name, 0) + 1

    def secured(self, session: Session, seconds: float) -> None:
        """Count a TLS handshake that has ended well; its CPU is counted with the attempt's end."""
        self.totals.tls_handshakes += 1
        self.totals.tls_resumed += session.resumed
        self.record("tls", seconds)

    def errno(self, number: int) -> None:
        """Count an errno."""
        self.error(errno_name(number))

    def _note_failure(self, now: float) -> None:
        totals = self.totals
        if totals.first_failure_at is None:
            totals.first_failure_at = now - self.origin
            totals.started_before_first_failure = totals.started
