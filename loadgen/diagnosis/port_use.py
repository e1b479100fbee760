"""How full the client's ports were, at any moment of a run, as far as samples tell. Pure.

Two readings bound it. The list of sockets gives the ports in use toward the fullest destination,
exactly but seldom, because it costs milliseconds; sockets in TIME_WAIT and in use are counted ten
times a second, for all destinations together, so they are never fewer than the ports of one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from loadgen.config import RunConfig
from loadgen.sample import Sample

_WITHIN = 0.25
"""Seconds around a moment in which a count of sockets still tells of it."""


class PortUse:
    """The share of the local ports in use toward one destination, over a run."""

    def __init__(self, samples: Sequence[Sample], config: RunConfig) -> None:
        """Take in the samples of the client's namespace, in the order of time."""
        self._sockets = [
            (item.t, item.values["sockstat_TCP_tw"] + item.values.get("sockstat_TCP_inuse", 0))
            for item in samples
            if "sockstat_TCP_tw" in item.values
        ]
        self._pool = [
            (item.t, item.values["ephemeral_ports_in_use"])
            for item in samples
            if "ephemeral_ports_in_use" in item.values
        ]
        limits = [
            item.values["ephemeral_ports_limit"]
            for item in samples
            if item.values.get("ephemeral_ports_limit")
        ]
        chosen = config.local_port_range
        if chosen is not None:
            limits.append(chosen[1] - chosen[0] + 1)
        self.limit = min(limits) if limits else None
        """Ports that connect() could choose from; None where that was not read."""

    def most(self, start: float, end: float) -> float | None:
        """Return the greatest share, 0 to 1, that may have been in use between two moments.

        None where nothing was read that tells.
        """
        if not self.limit:
            return None
        bounds = []
        left = bisect_left(self._sockets, (start - _WITHIN,))
        right = bisect_right(self._sockets, (end + _WITHIN, float("inf")))
        near = self._sockets[left:right]
        if near:
            bounds.append(max(count for _, count in near))
        # Between two lists of sockets the number lies somewhere between what they say, or, where
        # ports are freed as fast as they are taken, near it; after the last one, nobody knows.
        after = bisect_left(self._pool, (end,))
        if 0 < after < len(self._pool):
            bounds.append(max(count for _, count in self._pool[after - 1 : after + 1]))
        return min(1.0, min(bounds) / self.limit) if bounds else None
