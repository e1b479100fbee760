"""Stores the keys that gets will ask for, before the run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from loadgen.config import RunConfig
from loadgen.outcome import Outcome
from loadgen.protocols import PROTOCOLS
from loadgen.protocols.exchange import Exchange, ExchangeError
from loadgen.protocols.seam import Request
from loadgen.protocols.tls import Client, clients
from loadgen.sample import ROLE_SERVER
from loadgen.sampling.namespace import NamespaceError, open_namespace, run_inside
from loadgen.target import Credentials

TIMEOUT = 3.0
"""Seconds for the handshake, and again for each batch to be answered whole."""
_BATCH = 500
_BATCH_BYTES = 1_000_000
_TLS_BATCH_BYTES = 8_000
"""Over TLS: less than a record of 16 KB, all of which memcached reads at once. Of what is longer a rest
stays in OpenSSL's buffer, and memcached (1.6.18) waits for the socket, which has no more to give."""


def seed(config: RunConfig, credentials: Credentials | None = None) -> bool | None:
    """Store every key at every target; return whether that worked, None when gets are not asked.

    From the server's namespace where it is known, else with a reset at the end: either way no
    port of the client is left in TIME_WAIT toward the target, which would be one fewer to measure.
    """
    if config.gets == 0 or PROTOCOLS[config.protocol].seed is None:
        return None
    server = config.namespaces.get(ROLE_SERVER)
    try:
        if server is None:
            return _seed_all(config, credentials)
        with open_namespace(server) as namespace:
            return run_inside(namespace, lambda: _seed_all(config, credentials))
    except (ExchangeError, NamespaceError):
        return False


def _seed_all(config: RunConfig, credentials: Credentials | None) -> bool:
    places = zip(config.addresses, clients(config), strict=True)
    return all(_seed_one(address, client, config, credentials) for address, client in places)


def _seed_one(
    address: tuple[str, int],
    client: Client | None,
    config: RunConfig,
    credentials: Credentials | None,
) -> bool:
    yields = PROTOCOLS[config.protocol].seed
    assert yields is not None  # see `seed`
    exchange = Exchange(address, timeout=TIMEOUT, resets=True, client=client)
    try:
        most = _BATCH_BYTES if client is None else _TLS_BATCH_BYTES
        for batch in _batches(yields(config, credentials), most):
            replies = exchange.ask(batch, timeout=TIMEOUT)
            if any(reply.outcome is not Outcome.OK for reply in replies):
                return False
    finally:
        exchange.close()
    return True


def _batches(requests: Iterable[Request], most: int) -> Iterator[list[Request]]:
    """Yield the requests in batches that a server takes in without having to answer meanwhile."""
    left = iter(requests)
    for first in left:
        size = max(1, min(_BATCH, most // len(first.data)))
        yield [first, *islice(left, size - 1)]
