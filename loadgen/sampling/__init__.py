"""Samplers: pure parsers beside thin readers of /proc, netlink and memcached, in any namespace.

`NamespaceReader`, `MachineReader`, `ProcessReader` and `ServerReader` each read some metrics of
the catalogue; `Sampler` makes one sample of each role of their readings. All of it together stays
below 1 % of one core at 10 readings a second (bench/sampler.py).
"""

from __future__ import annotations

from loadgen.sampling.machine import MachineReader, ProcessReader
from loadgen.sampling.nat import NatReader
from loadgen.sampling.ports import PortReader, PortsInUse
from loadgen.sampling.reader import NamespaceReader
from loadgen.sampling.routes import RouteReader
from loadgen.sampling.sampler import Reader, Sampler
from loadgen.sampling.servers import ServerReader
from loadgen.sampling.sock_diag import Listener, Pool
from loadgen.sampling.sysctls import sysctls_in_force

__all__ = [
    "Listener",
    "MachineReader",
    "NamespaceReader",
    "NatReader",
    "Pool",
    "PortReader",
    "PortsInUse",
    "ProcessReader",
    "Reader",
    "RouteReader",
    "Sampler",
    "ServerReader",
    "sysctls_in_force",
]
