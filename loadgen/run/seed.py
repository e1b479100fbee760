"""Stores the keys that gets will ask for, before the run."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheError

from loadgen.config import RunConfig
from loadgen.engine import protocol
from loadgen.engine.sockets import RESET_ON_CLOSE
from loadgen.sample import ROLE_SERVER
from loadgen.sampling.namespace import NamespaceError, open_namespace, run_inside

_TIMEOUT = 3.0


def seed(config: RunConfig) -> bool | None:
    """Store every key at every target; return whether that worked, None when gets are not asked.

    From the server's namespace where it is known, else with a reset at the end: either way no
    port of the client is left in TIME_WAIT toward the target, which would be one fewer to measure.
    """
    if config.gets == 0:
        return None
    server = config.namespaces.get(ROLE_SERVER)
    try:
        if server is None:
            return all(_seed_one(address, config) for address in config.addresses)
        with open_namespace(server) as namespace:
            return run_inside(
                namespace, lambda: all(_seed_one(address, config) for address in config.addresses)
            )
    except (OSError, MemcacheError, NamespaceError):
        return False


def _seed_one(address: tuple[str, int], config: RunConfig) -> bool:
    client = Client(
        address,
        connect_timeout=_TIMEOUT,
        timeout=_TIMEOUT,
        socket_module=_resetting_sockets(),
        default_noreply=False,
    )
    try:
        return not any(
            client.set_many(items)
            for items in protocol.seed_items(config.key_space, config.value_size)
        )
    finally:
        client.close()


def _resetting_sockets() -> Any:
    """Return what pymemcache takes for the socket module, with sockets that close with RST."""

    def make(*arguments: Any) -> socket.socket:
        made = socket.socket(*arguments)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        return made

    names = {name: getattr(socket, name) for name in dir(socket) if not name.startswith("_")}
    return SimpleNamespace(**{**names, "socket": make})
