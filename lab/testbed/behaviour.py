"""How this kernel looks for a port, found by looking: its version number may say something else.

Distributions and the stable series take changes back: Debian's 5.10.0-32 has the random steps of 5.18,
as this look showed. What decides a forecast and shows within a few connections is therefore tried: in a namespace of its own, over loopback, some sockets are
connected to one listener, and the ports that they got tell how they were found
(`__inet_hash_connect` in net/ipv4/inet_hashtables.c):

- all of one parity: the first port's parity is searched first (4.2);
- not each two beyond the last: a search begins some random steps beyond the last one's end (5.18);
- with IP_LOCAL_PORT_RANGE (6.3), of both parities: its ports are tried in turn (6.8);
- where the sysctl tcp_tw_reuse_delay exists, reuse is by milliseconds (6.14).
"""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec

from lab.testbed.base import TestbedError
from lab.testbed.processes import run_tool
from loadgen.protocols.sockets import IP_LOCAL_PORT_RANGE, port_range
from loadgen.run import environment
from loadgen.sampling.namespace import NamespaceError, new_namespace, run_inside
from loadgen.summary import Environment

_LOOKS: Final = 16
"""Connections of a look. Random steps are 1 to 8 ports of a kind: all fifteen are 1 once in 8^15 looks."""
_SPAN: Final = (40_000, 49_999)
"""An even number of ports, the first one even: no parity is preferred for the range's sake."""
_PORTS: Final = _SPAN[1] - _SPAN[0] + 1


@cache
def behaviour() -> dict[str, bool]:
    """Return what was seen, by the fields of `loadgen.search.Kernel`; nothing where nothing can be.

    Takes some milliseconds once a process, and the right to make a network namespace.
    """
    try:
        namespace = new_namespace()
    except NamespaceError:
        return {}
    with ExitStack() as stack:
        stack.callback(os.close, namespace)
        try:
            run_tool(namespace, ["ip", "link", "set", "lo", "up"])
            return run_inside(namespace, _look)
        except (TestbedError, OSError):
            return {}


def described() -> Environment:
    """Return the record of this machine, with what its kernel was seen to do."""
    return msgspec.structs.replace(environment.describe(), behaviour=behaviour() or None)


def _look() -> dict[str, bool]:
    sysctls = Path("/proc/sys/net/ipv4")
    (sysctls / "ip_local_port_range").write_text(f"{_SPAN[0]} {_SPAN[1]}")
    plain = _ports()
    found = {
        "parity_first": len({port % 2 for port in plain}) == 1,
        "skips": any((b - a) % _PORTS not in {1, 2} for a, b in pairwise(plain)),
        "whole_seconds": not (sysctls / "tcp_tw_reuse_delay").exists(),
    }
    try:
        own = _ports(IP_LOCAL_PORT_RANGE)
    except OSError:
        return {**found, "socket_range": False, "socket_range_in_order": False}
    in_order = len({port % 2 for port in own}) == 2
    return {**found, "socket_range": True, "socket_range_in_order": in_order}


def _ports(option: int | None = None) -> list[int]:
    """Return the local ports of connections to one listener, in the order in which they were made."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=_LOOKS))
        ports = []
        for _ in range(_LOOKS):
            sock = stack.enter_context(socket.socket())
            if option is not None:
                sock.setsockopt(socket.IPPROTO_IP, option, port_range(*_SPAN))
            sock.connect(listener.getsockname())
            ports.append(sock.getsockname()[1])
        return ports
