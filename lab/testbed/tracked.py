"""A testbed whose servers track their connections, as a host with a stateful firewall does.

A kernel tracks nothing until a rule asks for it, so a line about the conntrack table has nothing to
act on in a namespace without one. Here the servers' namespace has such a rule, and its table can be
brought to the brink.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lab.testbed import tracking
from lab.testbed.base import SitePlan, Tuned
from lab.testbed.netns import NetnsSite, NetnsTestbed, Prepare


class TrackedTestbed(NetnsTestbed):
    """Network namespaces, with connection tracking on the servers' side.

    Args:
        left: entries that the servers' table still takes when the trial begins; the rest of it is
            filled with made-up ones, which go with the namespace. None to fill nothing.
    """

    def __init__(self, *, left: int | None = None) -> None:
        super().__init__()
        self._left = left

    @asynccontextmanager
    async def site(
        self, plan: SitePlan, prepare: Prepare | None = None, *, tuned: Tuned | None = None
    ) -> AsyncIterator[NetnsSite]:
        """See `Testbed.site`.

        Raises:
            UntestableError: also when the kernel cannot track here, or its table is too large to
                fill.
        """

        def both(client: int, server: int) -> None:
            tracking.enable(server)
            if self._left is not None:
                tracking.fill(server, tracking.room(server) - self._left)
            if prepare is not None:
                prepare(client, server)

        async with super().site(plan, both, tuned=tuned) as site:
            yield site
