"""Opens everything that one run samples: the client's namespace, the others, servers and machine."""

from __future__ import annotations

import time
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from loadgen.config import RunConfig
from loadgen.protocols import PROTOCOLS
from loadgen.protocols.tls import clients
from loadgen.sample import (
    MIDDLE_ROLES,
    ROLE_CLIENT,
    ROLE_HOST,
    ROLE_PROXY,
    ROLE_SERVER,
    Sample,
)
from loadgen.sampling import (
    MachineReader,
    NamespaceReader,
    NatReader,
    ProcessReader,
    Reader,
    RouteReader,
    Sampler,
    ServerReader,
    sysctls_in_force,
)
from loadgen.sampling.machine import processes_of
from loadgen.sampling.namespace import open_namespace
from loadgen.sampling.routes import source_toward
from loadgen.sampling.snapshots import State
from loadgen.target import Credentials

_HOST_STRIDE = 10
"""The machine's figures are wanted once a second at the default interval, not ten times."""


def _special(role: str, namespace: int, reader: NamespaceReader) -> list[Reader]:
    """Return what else is read of a role: a NAT's ports, a server's descriptors."""
    found: list[Reader] = []
    if role in MIDDLE_ROLES and role != ROLE_PROXY:
        found.append(NatReader(namespace))
    if role in {ROLE_SERVER, ROLE_PROXY}:
        processes = processes_of([listener.inode for listener in reader.listeners])
        if processes:
            found.append(ProcessReader(processes))
    return found


class Readers:
    """A run's sampler and what was found out while opening it; a context manager.

    Args:
        config: names the other namespaces and the targets. The client's namespace is one's own.
        credentials: for the servers' statistics.

    Raises:
        NamespaceError: when a namespace cannot be opened.
    """

    def __init__(self, config: RunConfig, credentials: Credentials | None = None) -> None:
        self.sysctls: dict[str, dict[str, str]] = {}
        """In force when the run began, by role."""
        with ExitStack() as stack:
            namespaces: dict[str, int | None] = {ROLE_CLIENT: None}
            for role, name in config.namespaces.items():
                namespaces[role] = stack.enter_context(open_namespace(name))
            targets = [host for host, _ in config.addresses]
            sources = config.source_addresses or source_toward(targets)
            readers: dict[str, list[Reader]] = {}
            self._namespaces: dict[str, NamespaceReader] = {}
            for role, namespace in namespaces.items():
                # Who listens may connect as well: only its own ports tell a proxy from a server.
                reader = NamespaceReader(
                    namespace,
                    targets=config.addresses,
                    ports=True,
                    anywhere=role != ROLE_CLIENT,
                )
                self._namespaces[role] = reader
                ends = {ROLE_CLIENT: targets, ROLE_SERVER: sources}.get(role, [*targets, *sources])
                readers[role] = [reader, RouteReader(namespace, ends)]
                if namespace is not None:
                    readers[role] += _special(role, namespace, reader)
                self.sysctls[role] = sysctls_in_force(namespace)
            self._servers: ServerReader | None = None
            asks = PROTOCOLS[config.protocol].statistics
            statistics = None if asks is None else asks(config, credentials)
            if statistics is not None:
                self._servers = ServerReader(
                    statistics,
                    config.addresses,
                    namespace=namespaces.get(ROLE_SERVER),
                    clients=clients(config),
                )
                readers.setdefault(ROLE_SERVER, []).append(self._servers)
            readers.setdefault(ROLE_HOST, []).append(MachineReader())
            self.sampler = Sampler(
                readers, interval=config.sample_interval, strides={ROLE_HOST: _HOST_STRIDE}
            )
            stack.callback(self.sampler.close)
            self._stack = stack.pop_all()

    def read(self, origin: float, *, force: bool = False) -> list[Sample]:
        """Return one sample a role; `origin` is time 0 on CLOCK_MONOTONIC.

        Args:
            origin: see above.
            force: also read what is read less often because of its cost, such as ports in use.
        """
        return self.sampler.sample(origin, force=force)

    def snapshot(self, origin: float) -> State:
        """Return the full state of every namespace; not while another thread reads.

        Raises:
            NamespaceError: when a namespace may not be entered any more.
        """
        places = {role: reader.snapshot() for role, reader in self._namespaces.items()}
        told = {} if self._servers is None else self._servers.last
        servers = {f"{host}:{port}": values for (host, port), values in told.items()}
        return State(time.monotonic() - origin, places, servers)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close all descriptors and connections."""
        self._stack.close()
