"""The arithmetic of the measurements, without any input or output: runs, ratios, spread.

Two clients are compared within one run, in turn (A B A B …), and the figure is the ratio of each
pair: whatever else the machine does in that minute weighs on both. The spread that is printed is
the whole range, not an interval: with five pairs nothing else would be honest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Late:
    """How late connections were opened, in microseconds."""

    median: float
    p99: float
    longest: float


@dataclass(frozen=True, slots=True)
class Run:
    """The result of one run of one client."""

    connections: int
    """Served to their end."""
    seconds: float
    user: float
    """CPU seconds in user mode, of the process or processes that open connections."""
    system: float
    late: Late | None = None
    """In the open loop."""

    @property
    def rate(self) -> float:
        """Connections per second."""
        return self.connections / self.seconds

    @property
    def user_each(self) -> float:
        """Microseconds of CPU in user mode per connection."""
        return self.user / self.connections * 1e6

    @property
    def system_each(self) -> float:
        """Microseconds of CPU in system mode per connection."""
        return self.system / self.connections * 1e6

    @property
    def cpu_each(self) -> float:
        """Microseconds of CPU per connection."""
        return self.user_each + self.system_each


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some values and the range they lie in."""

    median: float
    low: float
    high: float
    n: int

    def text(self, form: str = ",.0f") -> str:
        """Return `median (low–high)`, each number in the given format."""
        return f"{self.median:{form}} ({self.low:{form}}–{self.high:{form}})"


def spread(values: Iterable[float]) -> Spread:
    """Return median and range.

    Raises:
        ValueError: when there are no values.
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values: a median needs at least one run")
    return Spread(median(ordered), ordered[0], ordered[-1], len(ordered))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return the ratio of each pair of neighbours in an interleaved series.

    Raises:
        ValueError: when the two are not equally many.
    """
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def in_turn(names: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """Yield the order of an interleaved series, A B A B …, each with the number of its round."""
    for number in range(rounds):
        for name in names:
            yield number, name
