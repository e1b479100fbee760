"""What a worker asks of whatever opens its connections, the fast loop or a client library."""

from __future__ import annotations

from typing import Protocol

from loadgen.engine.tally import Tally


class Workload(Protocol):
    """One worker's arrivals, made and counted."""

    @property
    def tally(self) -> Tally:
        """What was counted so far."""

    @property
    def interrupted(self) -> bool:
        """Whether a stop ended the run before its end."""

    async def run(self, origin: float) -> None:
        """Make every attempt; return when the last has ended.

        Args:
            origin: when the counted run starts, on the tally's clock; the warm-up comes before.
        """

    def stop(self) -> None:
        """Start nothing more, and end."""
