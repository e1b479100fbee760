"""Tries what needs a network namespace: `python -m lab.doctor.probe` prints a `Probed` as JSON.

A process of its own, since an ordinary user has to enter a user namespace, and cannot leave it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from lab.testbed.base import TestbedError
from lab.testbed.behaviour import behaviour
from lab.testbed.netns import NetnsTestbed, delay, pair
from lab.testbed.tracking import enable
from lab.testbed.userns import ensure_privileges
from loadgen.protocols.sockets import (
    IP_BIND_ADDRESS_NO_PORT,
    IP_LOCAL_PORT_RANGE,
    RESET_ON_CLOSE,
    port_range,
)
from loadgen.sampling.namespace import NamespaceError, run_inside
from loadgen.sampling.sock_diag import DiagError, DiagSocket

_COUNT: Final = Path("/proc/sys/net/netfilter/nf_conntrack_count")
_CONNECTIONS: Final = 8


class Probed(msgspec.Struct, frozen=True, kw_only=True):
    """Each an empty string when it works, or why it does not."""

    namespaces: str
    remedy: str = ""
    """How namespaces can be had, where they cannot."""
    as_user: bool = False
    """In a user namespace, not as root."""
    netem: str = "not tried"
    conntrack: str = "not tried"
    """Whether a namespace tracks connections once a rule asks for it."""
    local_port_range: str = "not tried"
    """The socket option IP_LOCAL_PORT_RANGE."""
    bind_no_port: str = "not tried"
    """The socket option IP_BIND_ADDRESS_NO_PORT."""
    sock_diag: str = "not tried"
    tw_reuse: str = "not tried"
    tw_reuse_delay: str = "not tried"
    behaviour: dict[str, bool] = msgspec.field(default_factory=dict)
    """How connect() was seen to look for a port."""


def tracked() -> int | None:
    """Return how many of a few connections over loopback this thread's namespace tracks.

    None where connection tracking is not loaded.
    """
    try:
        before = int(_COUNT.read_text())
    except OSError:
        return None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(_CONNECTIONS):
            with socket.create_connection(listener.getsockname()) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            listener.accept()[0].close()
    return max(0, int(_COUNT.read_text()) - before)


def tracks(found: int | None) -> bool:
    """Whether `tracked` means that connections are tracked; others come and go meanwhile."""
    return found is not None and found >= _CONNECTIONS // 2


def _conntrack(namespace: int) -> str:
    enable(namespace)
    found = run_inside(namespace, tracked)
    if found is None:
        return "nf_conntrack is not loaded"
    return "" if tracks(found) else "a rule with `ct` makes nothing tracked"


def _option(option: int, value: int | bytes) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        try:
            sock.setsockopt(socket.IPPROTO_IP, option, value)
        except OSError as error:
            return os.strerror(error.errno or 0)
    return ""


def _diag() -> str:
    try:
        diag = DiagSocket()
    except OSError as error:
        return os.strerror(error.errno or 0)
    try:
        diag.listeners()
    except (OSError, DiagError) as error:
        return str(error)
    finally:
        diag.close()
    return ""


def _exists(key: str) -> str:
    return "" if Path("/proc/sys/net/ipv4", key).exists() else "no such sysctl"


def _unwritable() -> str:
    """Return why the thread's namespace cannot be tuned; its own value is written, nothing changes."""
    path = Path("/proc/sys/net/ipv4/ip_local_port_range")
    try:
        path.write_text(path.read_text())
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _tried(call: Callable[[], str]) -> str:
    try:
        return call()
    except (TestbedError, NamespaceError, OSError) as error:
        return str(error)


def probe() -> Probed:
    """Try everything."""
    try:
        as_user = ensure_privileges()
        NetnsTestbed().check()
    except (TestbedError, NamespaceError) as error:
        return Probed(namespaces=error.problem, remedy=error.remedy)
    with ExitStack() as stack:
        client, server = pair(stack)
        if reason := run_inside(client, _unwritable):
            return Probed(
                namespaces=f"the settings of a network namespace cannot be written here ({reason})",
                remedy="run where /proc/sys is not mounted read-only: the container with --privileged, "
                "or on the host",
            )
        return Probed(
            namespaces="",
            as_user=as_user,
            netem=_tried(lambda: delay((client, server), 0.001) or ""),
            conntrack=_tried(lambda: _conntrack(client)),
            local_port_range=_option(IP_LOCAL_PORT_RANGE, port_range(40_000, 40_100)),
            bind_no_port=_option(IP_BIND_ADDRESS_NO_PORT, 1),
            sock_diag=_tried(lambda: run_inside(client, _diag)),
            tw_reuse=run_inside(client, lambda: _exists("tcp_tw_reuse")),
            tw_reuse_delay=run_inside(client, lambda: _exists("tcp_tw_reuse_delay")),
            behaviour=behaviour(),
        )


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.buffer.write(msgspec.json.encode(probe()) + b"\n")
