"""A limit to what an expensive reading may cost: it waits until it has earned its next turn.

Some readings cost more the more there is to read: a dump of 28,000 sockets takes ten milliseconds.
Taken ten times a second it would use a tenth of a core, on the very machine under test. So such a
reading is taken at its own pace: after one that cost `c` seconds of CPU, the next is due when
`c / share` seconds have passed. Its cost then stays below `share` of one core however much there
is to read, and a cheap one is taken at every round.
"""

from __future__ import annotations


class Pace:
    """Says when a reading whose cost varies may be taken again. Pure: the caller has the clock."""

    __slots__ = ("_due", "cost", "share")

    def __init__(self, share: float) -> None:
        """Keep a reading below `share` of one core (0 < share <= 1).

        Raises:
            ValueError: for a share outside that range.
        """
        if not 0 < share <= 1:
            raise ValueError(f"a share of one core is above 0 and at most 1, not {share}")
        self.share = share
        self.cost = 0.0
        """Seconds of CPU that the last reading cost."""
        self._due = float("-inf")

    def due(self, now: float) -> bool:
        """Return whether a reading may be taken at `now`, in seconds of any steady clock."""
        return now >= self._due

    def paid(self, now: float, cost: float) -> None:
        """Note that a reading ended at `now` and cost `cost` seconds of CPU."""
        self.cost = cost
        self._due = now + cost / self.share


class Backoff:
    """Says when to try again what failed: after 0.5 s, then 1, 2, 4 and at most 8 s. Pure."""

    __slots__ = ("_due", "_wait")

    FIRST = 0.5
    LONGEST = 8.0

    def __init__(self) -> None:
        self._due = float("-inf")
        self._wait = self.FIRST

    def due(self, now: float) -> bool:
        """Return whether to try at `now`."""
        return now >= self._due

    def failed(self, now: float) -> None:
        """Note a failure at `now`."""
        self._due = now + self._wait
        self._wait = min(self._wait * 2, self.LONGEST)

    def succeeded(self) -> None:
        """Note a success: the next failure waits the shortest time again."""
        self._due = float("-inf")
        self._wait = self.FIRST
