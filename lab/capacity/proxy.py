"""X1. A proxy that opens a connection to a server for each that it takes: a client of its own. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lab.capacity.situation import Settings, Situation


def behind_proxy(
    situation: Situation,
    proxy: Mapping[str, str],
    server: Mapping[str, str] | None,
    servers: int,
) -> Situation:
    """Return the situation of the proxy, from that of its clients.

    It has one address, its own settings, and as many pools of ports as there are servers. It closes
    toward them as its clients close toward it (HAProxy 2.6 in mode tcp, measured: a FIN is passed on
    as a FIN, a RST as a RST).

    Args:
        situation: of the clients, whose one destination is the proxy.
        proxy: sysctls in force there, by dotted key.
        server: the same where the servers are; the proxy's where there is none.
        servers: addresses and ports that it shares the load among.

    Raises:
        CapacityError: when a setting cannot be.
    """
    load = replace(
        situation.load, sources=1, destinations=servers, local_port_range=None, bind_early=False
    )
    return replace(situation, load=load, settings=Settings.of(proxy, server))
