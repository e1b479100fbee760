"""A testbed whose servers track their connections, as a host with a stateful firewall does.

A kernel tracks nothing until a rule asks for it, so a line about the conntrack table has nothing to
act on in a namespace without one. Here the servers' namespace has such a rule.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lab.testbed.base import SitePlan, TestbedError, Tuned
from lab.testbed.ground import Ground, UntestableError
from lab.testbed.netns import NetnsSite, NetnsTestbed, Prepare, addresses
from lab.testbed.tracking import enable


def _track(client: int, server: int) -> None:
    source, target = addresses("client", 1), addresses("server", 1)
    ground = Ground(client=client, server=server, source=source[0], servers=target)
    try:
        enable(ground, "server")
    except UntestableError as error:
        raise TestbedError(f"connections cannot be tracked here: {error}") from None


class TrackedTestbed(NetnsTestbed):
    """Network namespaces as ever, with connection tracking on the servers' side."""

    @asynccontextmanager
    async def site(
        self, plan: SitePlan, prepare: Prepare | None = None, *, tuned: Tuned | None = None
    ) -> AsyncIterator[NetnsSite]:
        """See `Testbed.site`."""

        def both(client: int, server: int) -> None:
            _track(client, server)
            if prepare is not None:
                prepare(client, server)

        async with super().site(plan, both, tuned=tuned) as site:
            yield site
