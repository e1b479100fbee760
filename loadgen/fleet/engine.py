"""Where the Docker engine is looked for, and what goes wrong with it, as one line each.

As the `docker` command does: DOCKER_HOST, else the current context. The SDK's calls block. The lab's
testbed of containers begins here too.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import docker
import docker.constants
import docker.errors
import requests.exceptions
from docker.context import ContextAPI

from loadgen.fleet.errors import FleetError, NoEngineError
from loadgen.units import spaced

OLDEST: Final = (1, 41)
"""The API of engine 20.10, the oldest that this was tested with."""
ANSWER_WITHIN: Final = 5.0
"""Seconds for an engine to say its version; an address where nobody is may swallow packets."""
_UNIX: Final = "unix://"


def endpoint() -> str:
    """Return where the engine is looked for.

    Raises:
        NoEngineError: for a context that does not exist. The SDK would go to the local engine then.
    """
    if host := os.environ.get("DOCKER_HOST"):
        return host
    name = os.environ.get("DOCKER_CONTEXT")
    try:
        known = ContextAPI.get_context(name)
        host = ContextAPI.kwargs_from_context(name).get("base_url")
    except (docker.errors.DockerException, OSError, ValueError) as error:
        raise NoEngineError(f"the docker context cannot be read: {reason_of(error)}") from error
    if known is None:
        raise NoEngineError(
            f"there is no docker context {name or 'as the current one'}",
            "docker context ls names them, docker context use chooses one",
        )
    return host or "unix:///var/run/docker.sock"


def reason_of(error: Exception) -> str:
    """Return what an exception of the SDK says, as one line of bounded length."""
    text = str(getattr(error, "explanation", None) or error)
    return spaced(text)[:500]


def knock(where: str) -> None:
    """Find out whether a process listens at a socket file; the SDK's own words are hard to read.

    Other kinds of address are left to the SDK.

    Raises:
        NoEngineError: when nobody does.
    """
    if not where.startswith(_UNIX):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        try:
            link.connect(where.removeprefix(_UNIX))
        except PermissionError:
            raise NoEngineError(
                f"this user may not use the Docker engine at {where}",
                "run as root, or add the user to the group docker",
            ) from None
        except OSError as error:
            raise no_engine(where, error.strerror or str(error)) from None


def no_engine(where: str, reason: str) -> NoEngineError:
    """Return the error that says where no engine answers, why, and what to do."""
    return NoEngineError(
        f"no Docker engine answers at {where} ({reason})",
        "start it (systemctl start docker), or choose another one with `docker context use` or "
        "DOCKER_HOST",
    )


@dataclass(frozen=True, slots=True)
class Connection:
    """An engine that answers."""

    client: Any
    """The SDK's."""
    where: str
    """Its address."""
    about: Mapping[str, Any]
    """What it says of itself: `Version`, `ApiVersion` and more."""


def connect(*, answer_within: float = ANSWER_WITHIN) -> Connection:
    """Return a connection to the engine; its client is the caller's to close.

    Raises:
        NoEngineError: when no engine answers.
        FleetError: when it is too old.
    """
    where = endpoint()
    knock(where)
    try:
        client = docker.from_env(version="auto", timeout=answer_within)
        about = client.version()
    # The SDK reads the address as a URL, whose port may not be a number.
    except (
        docker.errors.DockerException,
        requests.exceptions.RequestException,
        ValueError,
    ) as error:
        raise no_engine(where, reason_of(error)) from error
    client.api.timeout = docker.constants.DEFAULT_TIMEOUT_SECONDS
    version = tuple(int(part) for part in str(about["ApiVersion"]).split("."))
    if version < OLDEST:
        client.close()
        raise FleetError(
            f"the Docker engine at {where} is {about['Version']} (API {about['ApiVersion']})",
            "20.10 (API 1.41) or later is needed",
        )
    return Connection(client, where, about)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn what the SDK raises into a `FleetError` that begins with `what`."""
    try:
        yield
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise FleetError(f"docker: {what}: {reason_of(error)}") from error
