"""The bracketing search for a capacity. Pure: it says which rate to try next, given the results so far.

The capacity is the highest rate without a loss, so what is searched is the boundary between rates
whose trials are clean and rates whose trials lose connections. The rules, fixed before any trial:

1. Begin just below the expected capacity, and go up in steps while trials are clean, or down while
   they are not. With a good forecast the second trial closes the bracket.
2. Halve the bracket (on a logarithmic scale) until its ends are within `precision` of each other.
3. Confirm both ends: as many trials at each as `confirm` asks for. A single loss at the lower end
   makes it an upper end, and the search goes on below it.
4. A trial in which the generator was the limit is no evidence of anything. It is tried again; when
   it stays so, this machine cannot look beyond, and the answer is "at least" the highest clean rate.

The evidence at the end is two counts: clean trials at the lower end, losing ones at the upper. How
likely so clean a separation is if the rate made no difference is Fisher's exact test, one-sided.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

STEP: Final = 1.25
"""Between two trials while one end of the bracket is open."""
LIMITED_TRIES: Final = 2
"""How often a rate is tried that the generator could not keep up with."""
COARSE: Final = 0.15
"""Precision that is enough below a rate which this machine cannot make."""


class TrialEnd(StrEnum):
    """How one trial ended."""

    CLEAN = "clean"
    LOST = "lost"
    LIMITED = "limited"


@dataclass(slots=True)
class RateTally:
    """The trials at one rate."""

    clean: int = 0
    lost: int = 0
    limited: int = 0

    @property
    def good(self) -> bool:
        """Clean at least once, and never anything else that counts."""
        return self.clean > 0 and self.lost == 0

    @property
    def out_of_reach(self) -> bool:
        """The generator could not make the rate, however often it was tried."""
        return not self.clean and not self.lost and self.limited >= LIMITED_TRIES


@dataclass(slots=True)
class Bracketing:
    """One search.

    Args:
        first: the rate to begin with, per second.
        narrow: how far above it to look first, as a factor; close to 1 where the forecast is
            trusted.
        precision: the bracket's width at the end, as a share of its lower end.
        confirm: trials at each end of the final bracket.
        most: trials altogether; the search ends there with what it has.
    """

    first: float
    narrow: float = STEP
    precision: float = 0.05
    confirm: int = 4
    most: int = 40
    tallies: dict[float, RateTally] = field(default_factory=dict)

    def saw(self, rate: float, ended: TrialEnd) -> None:
        """Take in how a trial ended."""
        tally = self.tallies.setdefault(rate, RateTally())
        match ended:
            case TrialEnd.CLEAN:
                tally.clean += 1
            case TrialEnd.LOST:
                tally.lost += 1
            case TrialEnd.LIMITED:
                tally.limited += 1

    @property
    def trials(self) -> int:
        """How many there were."""
        return sum(t.clean + t.lost + t.limited for t in self.tallies.values())

    @property
    def low(self) -> float | None:
        """The highest rate that was clean, below every rate that was not; None when there is none."""
        high = self.high
        good = [r for r, t in self.tallies.items() if t.good and (high is None or r < high)]
        return max(good, default=None)

    @property
    def high(self) -> float | None:
        """The lowest rate that lost something; None when there is none."""
        return min((r for r, t in self.tallies.items() if t.lost), default=None)

    @property
    def unreachable(self) -> float | None:
        """The lowest rate that this machine cannot make, when no lower one lost anything."""
        found = min((r for r, t in self.tallies.items() if t.out_of_reach), default=None)
        high = self.high
        return None if found is None or (high is not None and high < found) else found

    @property
    def only_at_least(self) -> bool:
        """Whether the machine, not the tuning, bounds the search from above."""
        return self.high is None or self.unreachable is not None

    def next(self) -> float | None:
        """Return the rate of the next trial; None when the search is over."""
        if self.trials >= self.most:
            return None
        if not self.tallies:
            return self.first
        again = self._again()
        if again is not None:
            return again
        low, high = self.low, self.high
        roof = self.unreachable
        top = high if roof is None else roof
        if low is None:
            assert top is not None
            floor = top / STEP
            return floor if floor >= 1 else None
        if top is None:
            step = self.narrow if len(self.tallies) == 1 else STEP
            return low * step
        wanted = COARSE if roof is not None else self.precision
        if top / low > 1 + wanted:
            return math.sqrt(low * top)
        return self._confirmation(low, high)

    def _again(self) -> float | None:
        """Return a rate whose only trials so far the generator spoiled, if it has tries left."""
        for rate, tally in self.tallies.items():
            if not tally.clean and not tally.lost and 0 < tally.limited < LIMITED_TRIES:
                return rate
        return None

    def _confirmation(self, low: float, high: float | None) -> float | None:
        below = self.tallies[low]
        if below.clean < self.confirm and below.limited < self.confirm:
            return low
        if high is not None and not self.only_at_least:
            above = self.tallies[high]
            if above.clean + above.lost < self.confirm and above.limited < self.confirm:
                return high
        return None

    def separation(self) -> float | None:
        """Return Fisher's p for the counts at both ends; None without both."""
        low, high = self.low, self.high
        if low is None or high is None:
            return None
        below, above = self.tallies[low], self.tallies[high]
        return fisher(below.clean, below.lost, above.clean, above.lost)


def fisher(clean_below: int, lost_below: int, clean_above: int, lost_above: int) -> float:
    """Return how likely a table at least so uneven is by chance (Fisher, 1922), one-sided.

    The sums of rows and columns are taken as given; the chance that so many or more of the clean
    trials fall below is hypergeometric.
    """
    below = clean_below + lost_below
    clean = clean_below + clean_above
    total = below + clean_above + lost_above
    ways = math.comb(total, below)
    return (
        sum(
            math.comb(clean, k) * math.comb(total - clean, below - k)
            for k in range(clean_below, min(clean, below) + 1)
        )
        / ways
    )
