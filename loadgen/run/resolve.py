"""From what the user typed to a run's effective configuration: names resolved, bounds found."""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Collection, Iterable
from contextlib import suppress

from loadgen.run.route import leads_into
from loadgen.sample import KERNEL_ROLES, ROLE_SERVER, is_kernel_role
from loadgen.target import Network, Target, allowed, refusal

RESERVED_DESCRIPTORS = 64
"""What a worker needs besides its connections: epoll, pipes, libraries, and some room."""


def resolved(target: Target) -> tuple[str, int]:
    """Return the first address of a target's name, and its scope: 0, or the link that it holds on.

    Raises:
        ValueError: when the name does not resolve.
    """
    try:
        infos = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ValueError(f"target {target} does not resolve: {error.strerror}") from None
    except UnicodeError as error:  # an empty label, or one of more than 63 bytes
        raise ValueError(f"target {target} does not resolve: {error}") from None
    where = infos[0][4]
    return str(where[0]), int(where[3]) if len(where) == 4 else 0


def addresses_of(
    targets: Iterable[Target], allow: Collection[Network], namespaces: Collection[str]
) -> list[tuple[str, int]]:
    """Return each target's address, resolved once so that no name look-up is in the load's way.

    Raises:
        ValueError: when a name does not resolve, when load may not go there, or when IPv4 and IPv6
            are mixed.
    """
    found = []
    for target in targets:
        address, link = resolved(target)
        if link:
            raise ValueError(
                f"target {target} holds on one link only; give an address without a zone"
            )
        if not (allowed(address, allow) or _is_ours(address, namespaces)):
            raise ValueError(refusal(target, address))
        found.append((address, target.port))
    if len({":" in address for address, _ in found}) > 1:
        raise ValueError("targets mix IPv4 and IPv6; run them apart")
    return found


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def source_toward(address: str) -> str | None:
    """Return this namespace's own address on the way to another; None where no route leads there."""
    with socket.socket(_family(address), socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect((address, 9))  # of a datagram socket: looks up the route and sends nothing
        return str(probe.getsockname()[0])
    return None


def _is_local(address: str) -> bool:
    """Return whether an interface of the thread's namespace has the address.

    The routing table knows: toward an address of one's own, the source is that address. bind()
    would not do: it accepts any address where net.ipv4.ip_nonlocal_bind is on (ip-sysctl.rst), as
    it is on hosts with floating addresses, and load would go anywhere from there.
    """
    return source_toward(address) == address


def _can_bind(address: str) -> bool:
    with socket.socket(_family(address), socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            # Every port of it is taken: for the run to find out, and it is ours all the same.
            return error.errno == errno.EADDRINUSE
        return True


def _is_ours(address: str, namespaces: Collection[str]) -> bool:
    """Return whether the address is this namespace's own, or the way to it stays in the named ones."""
    return _is_local(address) or (bool(namespaces) and leads_into(address, namespaces))


def check_sources(sources: Iterable[str], targets: Collection[tuple[str, int]] = ()) -> None:
    """Check that every source address is this namespace's, and of the targets' family.

    Raises:
        ValueError: naming the one that is not.
    """
    for source in sources:
        try:
            socket.inet_pton(_family(source), source)
        except OSError:
            raise ValueError(f"source {source!r} is not an IP address") from None
        if any(_family(host) != _family(source) for host, _ in targets):
            raise ValueError(f"source {source} and the targets mix IPv4 and IPv6")
        if not _can_bind(source):
            raise ValueError(
                f"source {source} is not an address of this host; add it with "
                f"`ip addr add {source}/32 dev …` or omit it"
            )


def parse_namespaces(texts: Iterable[str]) -> dict[str, str]:
    """Return role -> namespace from `NAME`, `PID` or `ROLE=NAME`; the role is server by default.

    Raises:
        ValueError: for an unknown role, or one that is given twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        role, equals, name = text.partition("=")
        if not equals:
            role, name = ROLE_SERVER, text
        if not is_kernel_role(role):
            roles = ", ".join(KERNEL_ROLES)
            raise ValueError(f"{text!r}: the role is one of {roles} or client-2, not {role!r}")
        if role in found:
            raise ValueError(f"{text!r}: the role {role} has a namespace already: {found[role]}")
        found[role] = name
    return found


def usable_cpus() -> int:
    """Return how many CPUs this process may run on."""
    return len(os.sched_getaffinity(0))


def descriptors_per_worker() -> int:
    """Return how many connections one worker process can hold open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = 1 << 20
    return max(1, hard - RESERVED_DESCRIPTORS)


def default_workers(cpus: int, *, shared: bool) -> int:
    """Return how many workers `--workers auto` means.

    One a CPU; half of that where the servers run on the same machine, for each connection costs
    them as much as the generator, and two workers that fight memcached for two CPUs open fewer
    connections than one that does not.
    """
    return max(1, cpus // 2) if shared else cpus
