"""Statistics over trials: median with its interval, rank test, effect size.

The unit is always the trial, never the connection. Failures of connections are bursty: once the
ports have run out the next thousand connects fail too, so ten thousand connections of one trial
are one observation of "the ports ran out", not ten thousand. Testing on connections would call
every difference significant.

Nothing here assumes a distribution. Lost shares are 0 in one arm and close to constant in the
other, which no normal distribution resembles; orders and ranks hold for any.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from statistics import median
from typing import Final

import msgspec

ALPHA: Final = 0.05
"""The significance level of every test here: how often equal arms are called different."""
CONFIDENCE: Final = 0.95

EXACT_UP_TO: Final = 60
"""Trials of both arms together up to which the rank test is exact; beyond, the normal law."""


class MedianInterval(msgspec.Struct, frozen=True):
    """A median and the interval that covers the true median with at least `confidence`."""

    median: float
    low: float
    high: float
    confidence: float
    """Achieved, 0 to 1. With n < 6 it stays below 0.95, however the values fall."""
    n: int


def trials_for_interval(confidence: float = CONFIDENCE) -> int:
    """Return the least number of trials whose whole range covers the median so surely.

    The range of n values misses the median only when all lie on one side of it: 2 · 2⁻ⁿ.
    """
    n = 1
    while 1 - 2.0 ** (1 - n) < confidence:
        n += 1
    return n


def trials_for_test(alpha: float = ALPHA) -> int:
    """Return the least number of trials in each arm with which the rank test can reach `alpha`.

    With no overlap at all between two arms of n, p is 2 / C(2n, n): 0.1 for 3, 0.029 for 4.
    """
    n = 1
    while not reachable(n, n, alpha):
        n += 1
    return n


def reachable(before: int, after: int, alpha: float = ALPHA) -> bool:
    """Return whether the rank test of so many trials could fall to `alpha` without any overlap."""
    return 2 / math.comb(before + after, before) <= alpha


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> MedianInterval:
    """Return the median with its order-statistic confidence interval.

    Each value lies below the true median with probability 1/2, so the number that do is binomial,
    whatever the distribution (David and Nagaraja, "Order Statistics", 7.1). The interval from the
    k-th smallest to the k-th greatest value covers the median with 1 - 2 P(B ≤ k-1); taken is the
    narrowest that reaches `confidence`, or the whole range where none does.

    Raises:
        ValueError: when there are no values.
    """
    if not values:
        raise ValueError("no values: a median needs at least one trial")
    ordered = sorted(values)
    n = len(ordered)
    k, achieved, below = 1, 1 - 2.0 ** (1 - n), 1
    while 2 * (k + 1) <= n:
        below += math.comb(n, k)
        coverage = 1 - 2 * below / 2**n
        if coverage < confidence:
            break
        k, achieved = k + 1, coverage
    return MedianInterval(
        median=float(median(ordered)),
        low=float(ordered[k - 1]),
        high=float(ordered[n - k]),
        confidence=achieved,
        n=n,
    )


def _doubled_midranks(values: Sequence[float]) -> list[int]:
    """Return twice the rank of each value, ties sharing their mean rank: whole numbers."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0] * len(values)
    first = 1
    for _, group in groupby(order, key=values.__getitem__):
        tied = list(group)
        for index in tied:
            ranks[index] = 2 * first + len(tied) - 1
        first += len(tied)
    return ranks


def _exact_p(ranks: list[int], chosen: int, observed: int) -> float:
    """Return p from all C(N, n) ways to choose `chosen` of the ranks, each as likely as any other.

    `ways[k][s]` counts the subsets of k ranks whose sum is s; it is built up one rank at a time.
    """
    ways: list[dict[int, int]] = [{0: 1}, *({} for _ in range(chosen))]
    for rank in ranks:
        for size in range(chosen, 0, -1):
            target = ways[size]
            for total, count in ways[size - 1].items():
                target[total + rank] = target.get(total + rank, 0) + count
    sums = ways[chosen]
    low = sum(count for total, count in sums.items() if total <= observed)
    high = sum(count for total, count in sums.items() if total >= observed)
    return min(1.0, 2 * min(low, high) / math.comb(len(ranks), chosen))


def _normal_p(ranks: list[int], chosen: int, observed: int) -> float:
    """Return p from the normal law, with the correction for ties and for continuity."""
    total = len(ranks)
    others = total - chosen
    mean = chosen * (total + 1) / 2
    ties = sum(len(list(group)) ** 3 for _, group in groupby(sorted(ranks))) - total
    variance = chosen * others / 12 * (total + 1 - ties / (total * (total - 1)))
    if variance <= 0:
        return 1.0
    distance = max(0.0, abs(observed / 2 - mean) - 0.5)
    return math.erfc(distance / math.sqrt(2 * variance))


def mann_whitney(before: Sequence[float], after: Sequence[float]) -> float:
    """Return the two-sided p of the Mann-Whitney U test (Mann and Whitney, 1947).

    The question it answers: were the two arms the same, how often would their values be sorted
    apart at least as cleanly as these? Up to `EXACT_UP_TO` trials together the answer is exact,
    ties included: the permutation distribution of the rank sum is counted out, and p is twice its
    smaller tail. Beyond that the normal law with tie and continuity correction stands in.

    Infinite values are welcome: only the order counts.

    Raises:
        ValueError: when an arm is empty or a value is not a number.
    """
    if not before or not after:
        raise ValueError("an arm without trials cannot be compared")
    together = [*before, *after]
    if any(math.isnan(value) for value in together):
        raise ValueError("a value that is not a number has no rank")
    ranks = _doubled_midranks(together)
    observed = sum(ranks[: len(before)])
    if len(together) <= EXACT_UP_TO:
        return _exact_p(ranks, len(before), observed)
    return _normal_p(ranks, len(before), observed)


def cliffs_delta(before: Sequence[float], after: Sequence[float]) -> float:
    """Return how much more often a trial of `after` exceeds one of `before` than the reverse.

    1: every trial of `after` is greater than every trial of `before`; 0: neither way; -1: every
    one is less (Cliff, 1993).

    Raises:
        ValueError: when an arm is empty.
    """
    if not before or not after:
        raise ValueError("an arm without trials cannot be compared")
    wins = sum((b > a) - (b < a) for a in before for b in after)
    return wins / (len(before) * len(after))
