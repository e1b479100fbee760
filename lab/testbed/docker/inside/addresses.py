"""Benchmark addresses for containers on any network.

Docker gives every network a subnet that no other one has, so a compose file that asks for a fixed
subnet in 198.18.0.0/15 (RFC 2544, set aside for measuring) can run only once on an engine. So the
compose file asks for none: Docker chooses, and each container adds a benchmark address that follows
from the one it was given. Everyone can compute everyone's, and two projects never meet, since each
network is a bridge of its own. Load goes between these addresses only.

    Docker's       172.20.0.3  192.168.16.3  10.1.2.3  198.18.7.3
    the lab's      198.18.20.3   198.19.16.3  198.18.1.3  198.18.7.3   (as it is)

Adding an address takes CAP_NET_ADMIN, in the container's own namespace. A container does it as
early as it can, then becomes an ordinary user irrevocably and has no capability left. One that has to
wait for its turn waits as that user, with the way back open (capabilities(7): they leave the
effective set with user 0 and come back with it, as long as the saved user is 0).
"""

from __future__ import annotations

import fcntl
import os
import pwd
import socket
import struct
from ipaddress import IPv4Address, ip_network
from typing import Final

BENCHMARK: Final = ip_network("198.18.0.0/15")
CLIENT: Final = 254
"""The last byte of the address from which every trial's client connects. Its containers take turns
with it, so that the host's conntrack table, which outlives them by 120 s, has no more entries after
ten trials than after one."""
USER: Final = "churnlab"
_DEVICE: Final = "eth0"
_SIOCGIFADDR, _SIOCSIFADDR, _SIOCSIFNETMASK = 0x8915, 0x8916, 0x891C  # linux/sockios.h


def benchmark_address(docker: str) -> str:
    """Return the benchmark address that belongs to a container's address.

    Docker's own pools are 172.17.0.0/16 to 172.31.0.0/16, then /20s of 192.168.0.0/16: the byte
    that tells networks apart is kept, and so is the last one. More than 254 containers on one
    network would need more.
    """
    address = IPv4Address(docker)
    if address in BENCHMARK:
        return docker
    _, second, third, fourth = address.packed
    wide = third if second == 168 else second
    return f"198.{19 if second == 168 else 18}.{wide}.{fourth}"


def _request(name: str, address: str = "127.0.0.1") -> bytes:
    """Return a struct ifreq with a sockaddr_in."""
    return struct.pack("16sH2x4s8x", name.encode(), socket.AF_INET, socket.inet_aton(address))


def own_address() -> str:
    """Return the address that Docker gave this container.

    Raises:
        OSError: without an `eth0`.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        answer = fcntl.ioctl(control, _SIOCGIFADDR, _request(_DEVICE))
    return socket.inet_ntoa(answer[20:24])


def join(last: int | None = None) -> str:
    """Give this container its benchmark address, if it has none, and return it.

    Leaves this process as user 0 when it was started so; `drop_privileges` ends that.

    Args:
        last: take this last byte in place of the one that follows from Docker's address.

    Raises:
        OSError: without CAP_NET_ADMIN, or without an `eth0`.
    """
    if os.getuid() == 0:
        os.seteuid(0)
    given = own_address()
    wanted = benchmark_address(given)
    if last is not None:
        wanted = f"{wanted.rpartition('.')[0]}.{last}"
    if wanted != given:
        add(wanted, 1, netmask="255.255.255.0")
    return wanted


def add(address: str, number: int, *, netmask: str = "255.255.255.255") -> None:
    """Give this container a further address.

    Args:
        address: it.
        number: 1 for the first one, 2 for the second, …
        netmask: what lies behind it on the network; the default: nothing that was not there.

    Raises:
        OSError: without CAP_NET_ADMIN, or without an `eth0`.
    """
    alias = f"{_DEVICE}:{number}"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFADDR, _request(alias, address))
        fcntl.ioctl(control, _SIOCSIFNETMASK, _request(alias, netmask))


def become(uid: int, gid: int) -> None:
    """Become another user irrevocably. Leaving user 0 behind gives up every capability."""
    if os.geteuid() == 0 and uid != 0:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)


def drop_privileges() -> None:
    """Become the image's own user irrevocably, when started as root."""
    if os.geteuid() == 0:
        entry = pwd.getpwnam(USER)
        become(entry.pw_uid, entry.pw_gid)


def suspend_privileges() -> None:
    """Be the image's own user, without a capability in effect, until `join`."""
    if os.geteuid() == 0:
        entry = pwd.getpwnam(USER)
        os.setegid(entry.pw_gid)
        os.seteuid(entry.pw_uid)


def resolve(name: str) -> list[str]:
    """Return Docker's addresses of all containers that answer to a service's name.

    Raises:
        OSError: when the name does not resolve.
    """
    found = socket.getaddrinfo(name, None, family=socket.AF_INET, type=socket.SOCK_STREAM)
    return sorted({str(entry[4][0]) for entry in found}, key=IPv4Address)
