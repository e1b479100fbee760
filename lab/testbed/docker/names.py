"""Names and addresses of what the Docker testbed makes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, ip_network
from typing import Final

LAB: Final = "churnlab.lab"
"""The label of everything that `lab run --testbed docker` makes; its value is an `Owner` (`loadgen.fleet.owner`)."""
BENCHMARK: Final = IPv4Network("198.18.0.0/15")
"""RFC 2544: set aside for measuring devices in isolated networks."""
_SMALLEST: Final = 24


def free_subnets(taken: Iterable[str], addresses: int) -> Iterator[IPv4Network]:
    """Yield subnets of 198.18.0.0/15 that overlap with none taken, the lowest first.

    Args:
        taken: subnets in use; other than IPv4 ones do not matter.
        addresses: room wanted, beside network, gateway and broadcast address.
    """
    used = [net for text in taken if isinstance(net := ip_network(text, strict=False), IPv4Network)]
    prefix = min(_SMALLEST, 32 - (addresses + 2).bit_length())
    for subnet in BENCHMARK.subnets(new_prefix=prefix):
        if not any(subnet.overlaps(other) for other in used):
            yield subnet
