"""The Docker engine, as far as the lab needs it: all its calls of the SDK are in this file.

Where the engine is, `loadgen.fleet.engine` finds out. The SDK's calls block, so callers make them in
threads. Whatever it raises becomes one line here.

Everything that the lab makes carries the label `churnlab.lab`, whose value tells which process of
which boot of which machine made it: `lab restore` removes what has no living owner.
"""

from __future__ import annotations

import io
import secrets
import tarfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path, PurePosixPath
from typing import Any, Final

import docker.errors
from docker.types import IPAMConfig, IPAMPool

from lab.testbed.base import TestbedError
from lab.testbed.docker import orders
from lab.testbed.docker.errors import EngineError, NoEngineError, translated
from lab.testbed.docker.names import LAB, free_subnets
from loadgen.fleet import engine
from loadgen.fleet import errors as fleet_errors
from loadgen.fleet.owner import Owner

IMAGE: Final = "churnlab"
_BUILD: Final = "docker build --tag {image} . (in the project's folder)"


@dataclass(frozen=True, slots=True)
class Network:
    """A network of the lab's own."""

    id: str
    subnet: IPv4Network

    def addresses(self, first: int, count: int) -> tuple[str, ...]:
        """Return `count` addresses from number `first` on; 1 is the gateway's."""
        base = self.subnet.network_address
        return tuple(str(base + number) for number in range(first, first + count))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A container to be."""

    name: str
    command: Sequence[str]
    network: Network | None = None
    """None for a namespace without any."""
    host: bool = False
    """In the namespace of the engine's host, where it can only look."""
    address: str = ""
    volume: str = ""
    sysctls: Mapping[str, str]
    more_addresses: bool = False
    """It gives itself further addresses before it becomes an ordinary user."""


class Engine:
    """A connection to an engine.

    Args:
        image: what containers are made of.

    Raises:
        TestbedError: when no engine answers, or one that is too old.
    """

    def __init__(self, image: str = IMAGE) -> None:
        self.image = image
        self._owner = Owner.this()
        try:
            found = engine.connect()
        except fleet_errors.NoEngineError as error:
            raise NoEngineError(error.problem, error.remedy) from error
        except fleet_errors.FleetError as error:
            raise TestbedError(error.problem, error.remedy) from error
        self._client, self.about = found.client, found.about

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def check_image(self) -> None:
        """Make sure that the image is there and understands this lab's orders.

        Raises:
            TestbedError: when not; says how to build it.
        """
        remedy = _BUILD.format(image=self.image)
        with translated(f"image {self.image}"):
            try:
                labels = self._client.images.get(self.image).labels
            except docker.errors.ImageNotFound:
                raise TestbedError(f"docker: there is no image {self.image}", remedy) from None
        if labels.get(orders.LABEL) != orders.VERSION:
            raise TestbedError(
                f"docker: the image {self.image} is of another version than this lab", remedy
            )

    def name(self, what: str) -> str:
        """Return a name that nothing has."""
        return f"churnlab-{secrets.token_hex(4)}-{what}"

    @property
    def _labels(self) -> dict[str, str]:
        return {LAB: str(self._owner)}

    def create_network(self, addresses: int, driver: str = "bridge") -> Network:
        """Make a network with room for so many addresses, in 198.18.0.0/15.

        Args:
            addresses: how many.
            driver: `bridge`, or `overlay` for one of all nodes of a swarm.

        Raises:
            TestbedError: when there is no room for it.
        """
        with translated("listing networks"):
            taken = [
                pool["Subnet"]
                for network in self._client.networks.list()
                for pool in network.attrs["IPAM"]["Config"] or ()
                if "Subnet" in pool
            ]
        reason = "no subnet of 198.18.0.0/15 is free"
        for subnet in free_subnets(taken, addresses):
            pool = IPAMPool(subnet=str(subnet), gateway=str(subnet.network_address + 1))
            try:
                with translated("making a network"):
                    network = self._client.networks.create(
                        self.name("net"),
                        driver=driver,
                        attachable=driver == "overlay",
                        ipam=IPAMConfig(pool_configs=[pool]),
                        labels=self._labels,
                    )
            except EngineError as error:
                # Somebody was quicker, or the host has a route to it: the next one may do.
                reason = error.reason
                continue
            return Network(network.id, subnet)
        raise TestbedError(
            f"docker: cannot make a network: {reason}",
            "remove networks that nobody needs: docker network prune, lab restore",
        )

    def remove_network(self, network: Network) -> None:
        """Remove a network; one that has gone is fine."""
        with translated("removing a network"), suppress(docker.errors.NotFound):
            self._client.api.remove_network(network.id)

    def has_network(self, network: Network) -> bool:
        """Whether the engine still knows a network; a swarm's goes some time after its removal."""
        with translated("looking for a network"):
            try:
                self._client.api.inspect_network(network.id)
            except docker.errors.NotFound:
                return False
        return True

    def create_volume(self) -> str:
        """Make a volume and return its name."""
        with translated("making a volume"):
            return str(self._client.volumes.create(self.name("runs"), labels=self._labels).name)

    def remove_volume(self, name: str) -> None:
        """Remove a volume; one that has gone is fine."""
        with translated("removing a volume"), suppress(docker.errors.NotFound):
            self._client.api.remove_volume(name, force=True)

    def start(self, spec: Spec) -> Container:
        """Make a container and start it.

        Raises:
            EngineError: with the engine's reason; the container is gone then.
        """
        client = self._client
        what = f"container {spec.name}"
        network: dict[str, Any] = {"network_mode": "host" if spec.host else "none"}
        if spec.network is not None:
            endpoint_config = client.api.create_endpoint_config(ipv4_address=spec.address)
            network = {
                "network": spec.network.id,
                "networking_config": {spec.network.id: endpoint_config},
            }
        user = {"user": "root", "cap_add": ["NET_ADMIN", "SETUID", "SETGID", "KILL"]}
        with translated(what):
            made = client.containers.create(
                self.image,
                ["python", "-m", "lab.testbed.docker.inside", *spec.command],
                name=spec.name,
                labels=self._labels,
                sysctls=dict(spec.sysctls),
                volumes={spec.volume: {"bind": str(orders.VOLUME)}} if spec.volume else {},
                init=True,
                read_only=True,
                tmpfs={"/tmp": ""},  # noqa: S108 - the container's own
                cap_drop=["ALL"],
                security_opt=["no-new-privileges:true"],
                **network,
                **(user if spec.more_addresses else {}),
            )
        container = Container(spec.name, made)
        try:
            with translated(what):
                made.start()
        except TestbedError:
            container.remove()
            raise
        return container

    def connect(self, container: Container, network: Network, address: str) -> None:
        """Put a container back on a network."""
        with translated(f"connecting {container.name}"):
            self._client.api.connect_container_to_network(
                container.id, network.id, ipv4_address=address
            )

    def disconnect(self, container: Container, network: Network) -> None:
        """Take a container off a network."""
        with translated(f"disconnecting {container.name}"):
            self._client.api.disconnect_container_from_network(container.id, network.id, force=True)

    def leftovers(self) -> list[Leftover]:
        """Return everything on the engine that carries the lab's label."""
        filters = {"label": LAB}
        api = self._client.api
        # Lists as the engine gives them: the SDK would look at each, and some go meanwhile.
        with translated("listing what labs have made"):
            containers = api.containers(all=True, filters=filters)
            networks = api.networks(filters=filters)
            volumes = api.volumes(filters=filters)["Volumes"] or ()
        return [
            *(_leftover("container", one, one["Names"][0].lstrip("/")) for one in containers),
            *(_leftover("network", one, one["Name"]) for one in networks),
            *(_leftover("volume", one, one["Name"]) for one in volumes),
        ]

    def remove(self, leftover: Leftover) -> None:
        """Remove one; one that has gone is fine.

        Raises:
            TestbedError: when the engine refuses.
        """
        api = self._client.api
        what = f"removing {leftover.kind} {leftover.name}"
        with translated(what), suppress(docker.errors.NotFound):
            match leftover.kind:
                case "container":
                    api.remove_container(leftover.id, force=True, v=True)
                case "network":
                    api.remove_network(leftover.id)
                case _:
                    api.remove_volume(leftover.id, force=True)


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something on the engine that a lab made."""

    kind: str
    """`container`, `network` or `volume`: in this order they can be removed."""
    name: str
    id: str
    owner: Owner


def _leftover(kind: str, attributes: Mapping[str, Any], name: str) -> Leftover:
    owner = Owner.parse(attributes["Labels"][LAB])
    return Leftover(kind, name, attributes.get("Id", name), owner)


class Container:
    """A container that was started."""

    def __init__(self, name: str, made: Any) -> None:
        self.name = name
        self.id = str(made.id)
        self._made = made

    def wait(self) -> int:
        """Wait for its end, however long, and return the exit code."""
        with translated(f"waiting for {self.name}"):
            return int(self._made.wait(timeout=None)["StatusCode"])

    def logs(self) -> str:
        """Return what it has said."""
        with translated(f"logs of {self.name}"):
            return str(self._made.logs().decode(errors="replace"))

    def said(self) -> str:
        """Return what it said last, on one line."""
        lines = self.logs().strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def running(self) -> bool:
        """Whether it runs, paused or not."""
        with translated(f"looking at {self.name}"):
            self._made.reload()
        return bool(self._made.attrs["State"]["Running"])

    def ask(self, command: Sequence[str]) -> str:
        """Run a command in it and return what it printed.

        Raises:
            TestbedError: when it fails.
        """
        with translated(f"running {command[0]} in {self.name}"):
            code, output = self._made.exec_run(list(command))
        text = str(output.decode(errors="replace")).strip()
        if code != 0:
            raise TestbedError(f"docker: {' '.join(command)} in {self.name}: {text or code}")
        return text

    def act(self, action: str) -> None:
        """Carry out `kill`, `start`, `pause` or `unpause`."""
        with translated(f"{action} {self.name}"):
            getattr(self._made, action)()

    def signal(self, name: str) -> None:
        """Send a signal; one that has ended is fine."""
        with translated(f"{name} to {self.name}"), suppress(docker.errors.APIError):
            self._made.kill(signal=name)

    def fetch(self, folder: Path) -> None:
        """Copy the container's volume into `folder`.

        Raises:
            TestbedError: when it cannot be read.
            OSError: when `folder` cannot be written.
        """
        with translated(f"copying from {self.name}"):
            chunks, _ = self._made.get_archive(str(orders.VOLUME))
            data = b"".join(chunks)
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                if file is None:
                    continue
                path = PurePosixPath(member.name)
                inner = path.relative_to(path.parts[0])
                if ".." in inner.parts:
                    continue
                target = folder.joinpath(*inner.parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read())

    def remove(self) -> None:
        """Kill and remove it; one that has gone is fine."""
        with translated(f"removing {self.name}"), suppress(docker.errors.NotFound):
            self._made.remove(force=True, v=True)
