"""Where packets to an address would go: the route decides what is safe to load, not the address.

That a namespace named with `--netns` owns an address says nothing about where this host sends
packets for it: without a route to that namespace they leave through the default route, to whoever
has the address in the world. So the way is walked hop by hop. The routing table gives the next hop
and the device (`ip route get`); the neighbour table gives the link-layer address that packets are
put on the wire with (arp(7), RFC 826, RFC 4861); and that must be the address of a device in one of
the named namespaces, from where the walk goes on until a namespace has the target as its own.

An entry that the neighbour table lacks is asked for (NTF_USE, `ip neigh … use`), which sends an ARP
or neighbour solicitation on that link and nothing to the target. A device without link-layer
addresses (a tunnel) ends the walk: what is behind it cannot be seen from here.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Collection
from contextlib import ExitStack
from typing import Any, Final

from loadgen.sampling.namespace import open_namespace, own_namespace, run_inside

MAX_HOPS: Final = 16
"""A way longer than this is a loop."""
ANSWER_WITHIN: Final = 1.0
"""Seconds for a neighbour to answer; the kernel asks three times, a second apart (arp(7))."""
_POLL: Final = 0.005


def leads_into(address: str, namespaces: Collection[str]) -> bool:
    """Return whether packets from here to `address` stay within the named namespaces.

    Args:
        address: IPv4 or IPv6, as digits.
        namespaces: as `--netns` takes them.

    Raises:
        NamespaceError: when one of them cannot be opened or entered.
    """
    with ExitStack() as stack:
        named = {
            descriptor: _link_addresses(descriptor)
            for descriptor in (stack.enter_context(open_namespace(name)) for name in namespaces)
        }
        here = own_namespace()
        stack.callback(os.close, here)
        for _ in range(MAX_HOPS):
            route = _first(_ip(here, "route", "get", address))
            if route.get("type") == "local":
                return True
            device = route.get("dev")
            hop = route.get("gateway") or route.get("via", {}).get("host") or address
            wire = _link_address_of(here, str(hop), str(device)) if device else None
            behind = [one for one, addresses in named.items() if wire in addresses]
            if not behind:
                return False
            here = behind[0]
        return False


def _link_addresses(namespace: int) -> frozenset[str]:
    """Return the link-layer addresses of a namespace's devices."""
    links = _ip(namespace, "link", "show")
    return frozenset(
        str(link["address"])
        for link in links
        if link.get("link_type") == "ether" and "address" in link
    )


def _link_address_of(namespace: int, hop: str, device: str) -> str | None:
    """Return the link-layer address that packets for `hop` are sent to; None when nobody answers."""
    shown = ("neigh", "show", "to", hop, "dev", device)
    found = _first(_ip(namespace, *shown)).get("lladdr")
    if found is None:
        _ip(namespace, "neigh", "replace", hop, "dev", device, "use")
        end = time.monotonic() + ANSWER_WITHIN
        while found is None and time.monotonic() < end:
            time.sleep(_POLL)
            found = _first(_ip(namespace, *shown)).get("lladdr")
    return found if isinstance(found, str) else None


def _ip(namespace: int, *words: str) -> list[dict[str, Any]]:
    """Return what ip(8) shows inside a namespace; nothing when it refuses or is not installed."""

    def ask() -> list[dict[str, Any]]:
        try:
            done = subprocess.run(["ip", "-j", *words], capture_output=True, check=False)
            return list(json.loads(done.stdout or b"[]")) if done.returncode == 0 else []
        except (OSError, ValueError):
            return []

    return run_inside(namespace, ask)


def _first(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return rows[0] if rows else {}
