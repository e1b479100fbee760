"""Starts a fleet's shards on the nodes of a Docker Swarm: all calls of the SDK for it are here.

A run is one service and one secret. The service is a job: one task a node (global-job), or as many
as asked for (replicated-job), each run once and never again. Tasks share their node's network, so
that no bridge and no second connection tracking stands between a shard and what it loads; they have
no capability, and the key as a file that only they can read.

What every node must run is one and the same image. An image that was pulled is named by its digest,
and nodes that lack it pull it; one that was only built here is named by its id, which no node tries
to find in a registry.

Swarm puts a task that a node *rejects* (an image it does not have) back at once, for ever, also with
the restart condition `none`: so the first rejection ends the run, and the service goes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import docker.errors
from docker.types import EndpointSpec, RestartPolicy, SecretReference, ServiceMode

from loadgen.fleet import wire
from loadgen.fleet.engine import connect, translated
from loadgen.fleet.errors import FleetError
from loadgen.fleet.owner import Owner
from loadgen.fleet.record import Fleet, Seat
from loadgen.target import endpoint
from loadgen.units import spaced

LABEL: Final = "churnlab.fleet"
"""Of services and secrets: whose they are. Of an image: which version of `loadgen.fleet.wire` it has."""
_KEY: Final = "churnlab-fleet"
_USER: Final = "911"
"""The image's user, see the Dockerfile."""
_GONE: Final = frozenset({"rejected", "failed", "shutdown", "orphaned", "remove", "complete"})
"""States of tasks that will not come back (docs.docker.com, "Swarm task states")."""
_NS: Final = 1_000_000_000
_IN_USE: Final = 10.0
"""Seconds for which a secret stays in use after its service was removed, at most."""


class Swarm:
    """Starts one shard a node, or as many as asked for.

    Args:
        image: its name on the manager.
        shards: None for one a node.
        network: an overlay network that shards are on; their node's own if empty.
        sysctls: of each shard's container, which is then in a network namespace of its own.

    Raises:
        FleetError: when there is no swarm to do it.
    """

    def __init__(
        self,
        image: str,
        shards: int | None,
        *,
        network: str = "",
        sysctls: Mapping[str, str] | None = None,
    ) -> None:
        engine = connect()
        self._client, self._where = engine.client, engine.where
        try:
            self._check_swarm()
            self._image_name = image
            self._image = self._image_of(image)
            nodes = self._nodes()
        except FleetError:
            self._client.close()
            raise
        usable = [node for node in nodes if node.usable]
        self.notes = [
            f"{node.name} is {node.state} and gets no shard" for node in nodes if not node.usable
        ]
        """What the user should know before the run."""
        self.addresses = [node.address for node in [*usable[1:], *usable[:1]]]
        self._global = shards is None
        if shards is None:
            self.seats = [
                Seat(index=index, seat=node.id, node=node.name) for index, node in enumerate(usable)
            ]
        else:
            self.seats = [Seat(index=index, seat=str(index + 1)) for index in range(shards)]
            if shards > len(usable):
                self.notes.append(
                    f"{shards} shards on {len(usable)} nodes: those of one node share its CPUs and "
                    "its ports"
                )
        if not usable:
            raise FleetError("no node of the swarm is ready and active", "docker node ls shows why")
        self._run = ""
        self._network, self._sysctls = network, dict(sysctls or {})

    @classmethod
    def of(cls, fleet: Fleet) -> Swarm:
        """Return the launcher of a run that has begun, to look after its shards and to clean up.

        Raises:
            FleetError: when the engine does not answer, or is no manager any more.
        """
        self = cls.__new__(cls)
        engine = connect()
        self._client, self._where = engine.client, engine.where
        self._check_swarm()
        self._run = fleet.run
        self._image_name = ""
        self._global = not all(seat.seat.isdecimal() for seat in fleet.seats)
        self.seats = fleet.seats
        return self

    # --- before -----------------------------------------------------------------------------

    def _check_swarm(self) -> None:
        with translated("asking for its swarm"):
            about: Mapping[str, Any] = self._client.info().get("Swarm") or {}
        state = about.get("LocalNodeState") or "inactive"
        if state == "locked":
            raise FleetError(
                f"the swarm of the engine at {self._where} is locked", "docker swarm unlock"
            )
        if state != "active":
            raise FleetError(
                f"the engine at {self._where} is in no swarm ({state})",
                "make one with `docker swarm init` here and `docker swarm join` on the other "
                "machines, or choose a manager with `docker context use` or DOCKER_HOST",
            )
        if not about.get("ControlAvailable"):
            managers = [one.get("Addr", "") for one in about.get("RemoteManagers") or ()]
            raise FleetError(
                f"the engine at {self._where} is a worker of its swarm",
                f"choose a manager ({', '.join(managers[:3])}) with `docker context use` or "
                "DOCKER_HOST",
            )

    def _image_of(self, name: str) -> str:
        """Return what to call the image so that every node means the same one."""
        build = f"docker build --tag {name} . (in the project's folder)"
        try:
            found = self._client.images.get(name)
        except docker.errors.ImageNotFound:
            raise FleetError(f"docker: there is no image {name}", build) from None
        except docker.errors.DockerException as error:
            raise FleetError(f"docker: image {name}: {error}") from error
        if found.labels.get(LABEL) != wire.PROTOCOL:
            raise FleetError(f"docker: the image {name} is of another version than this", build)
        digests = found.attrs.get("RepoDigests") or ()
        return str(digests[0] if digests else found.id)

    def _nodes(self) -> list[_Node]:
        with translated("listing the swarm's nodes"):
            found = self._client.nodes.list()
        nodes = []
        for node in found:
            about, status = node.attrs["Description"], node.attrs["Status"]
            availability = node.attrs["Spec"].get("Availability", "active")
            ready = status.get("State") == "ready"
            linux = about.get("Platform", {}).get("OS", "linux") == "linux"
            nodes.append(
                _Node(
                    id=node.id,
                    name=about.get("Hostname") or node.id,
                    address=_address(node.attrs),
                    state=availability if ready and linux else status.get("State", "unknown"),
                    usable=ready and linux and availability == "active",
                )
            )
        return sorted(nodes, key=lambda node: (node.name, node.id))

    # --- the run ----------------------------------------------------------------------------

    def launch(self, fleet: Fleet, key: bytes) -> None:
        """See `Launcher.launch`."""
        self._run = fleet.run
        labels = {LABEL: str(Owner.this())}
        count = len(fleet.seats)
        mode = (
            ServiceMode("global-job")
            if self._global
            else ServiceMode("replicated-job", replicas=count, concurrency=count)
        )
        with translated("making the run's secret"):
            secret = self._client.secrets.create(name=fleet.run, data=key, labels=labels)
        with translated("starting the shards"):
            self._client.services.create(
                self._image,
                command=["loadgen", "fleet", "shard"],
                name=fleet.run,
                labels=labels,
                mode=mode,
                networks=[self._network or "host"],
                # Virtual addresses take IPVS, and nobody connects to a shard.
                endpoint_spec=EndpointSpec(mode="dnsrr") if self._network else None,
                sysctls=self._sysctls or None,
                restart_policy=RestartPolicy(condition="none"),
                secrets=[
                    SecretReference(secret.id, fleet.run, filename=_KEY, uid=_USER, mode=0o400)
                ],
                env=[
                    f"CHURNLAB_COLLECTOR={endpoint(fleet.host, fleet.port)}",
                    f"CHURNLAB_FLEET_KEY=/run/secrets/{_KEY}",
                    # Templates of Swarm's; a global job's tasks have no slot of their own.
                    "CHURNLAB_SEAT={{.Node.ID}}"
                    if self._global
                    else "CHURNLAB_SEAT={{.Task.Slot}}",
                    "CHURNLAB_NODE={{.Node.Hostname}}",
                ],
                cap_drop=["ALL"],
                init=True,
                stop_grace_period=10 * _NS,
            )

    def problems(self) -> dict[str, str]:
        """See `Launcher.problems`."""
        with translated("asking for the shards"):
            tasks = self._client.api.tasks(filters={"service": self._run})
            nodes = {node.id: node.attrs for node in self._client.nodes.list()}
        found: dict[str, str] = {}
        for task in tasks:
            node = task.get("NodeID", "")
            seat = node if self._global else str(task.get("Slot", ""))
            state = task["Status"]["State"]
            if state in _GONE:
                found[seat] = self._why(task["Status"], state)
            elif node and nodes.get(node, {}).get("Status", {}).get("State") != "ready":
                name = nodes.get(node, {}).get("Description", {}).get("Hostname", node)
                found.setdefault(seat, f"its node {name} is down, or has left the swarm")
        if self._global:
            for place in self.seats:
                if place.seat not in nodes:
                    found[place.seat] = f"its node {place.node} has left the swarm"
        return found

    def _why(self, status: Mapping[str, Any], state: str) -> str:
        reason = spaced(str(status.get("Err") or status.get("Message") or state))[:300]
        if "No such image" in reason:
            name = self._image_name or "the image"
            return (
                f"its node does not have the image {name}; load it there (docker save {name} | "
                f"docker --host ssh://NODE load), or push it to a registry that all nodes reach"
            )
        return f"its container is gone ({reason})"

    def remove(self) -> None:
        """See `Launcher.remove`."""
        if self._run:
            remove(self._client, self._run)
        self._client.close()


@dataclass(frozen=True, slots=True)
class _Node:
    id: str
    name: str
    address: str
    state: str
    usable: bool


def _address(attributes: Mapping[str, Any]) -> str:
    """Return a node's address; a manager may know itself as 0.0.0.0 and has another one there."""
    address = str(attributes["Status"].get("Addr", ""))
    manager = str((attributes.get("ManagerStatus") or {}).get("Addr", "")).rpartition(":")[0]
    return manager.strip("[]") if address in {"", "0.0.0.0", "127.0.0.1"} else address  # noqa: S104 - read, not bound


def remove(client: Any, run: str) -> None:
    """Remove a run's service and its secret; what has gone already is fine.

    Raises:
        FleetError: when the engine refuses.
    """
    with translated(f"removing the service {run}"), suppress(docker.errors.NotFound):
        client.api.remove_service(run)
    deadline = time.monotonic() + _IN_USE
    while True:
        try:
            client.api.remove_secret(run)
        except docker.errors.NotFound:
            return
        except docker.errors.APIError as error:
            if "in use" not in str(error.explanation) or time.monotonic() > deadline:
                raise FleetError(
                    f"docker: removing the secret {run}: {error.explanation}"
                ) from error
            time.sleep(0.1)
        else:
            return


@dataclass(frozen=True, slots=True)
class Leftover:
    """A run's service or secret on a swarm."""

    kind: str
    name: str
    owner: Owner


def leftovers(client: Any) -> Sequence[Leftover]:
    """Return every service and secret of a fleet's; nothing where the engine is no manager."""
    with translated("asking for its swarm"):
        if not (client.info().get("Swarm") or {}).get("ControlAvailable"):
            return ()
    filters = {"label": LABEL}
    with translated("listing what fleets have made"):
        return [
            *(_leftover("service", one) for one in client.api.services(filters=filters)),
            *(_leftover("secret", one) for one in client.api.secrets(filters=filters)),
        ]


def _leftover(kind: str, attributes: Mapping[str, Any]) -> Leftover:
    about = attributes["Spec"]
    return Leftover(kind, about["Name"], Owner.parse(about["Labels"][LABEL]))
