"""Where the Docker engine is looked for, and what goes wrong with it, as one line each."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import docker.errors
import requests.exceptions
from docker.context import ContextAPI

from lab.testbed.base import TestbedError

_UNIX: Final = "unix://"


class EngineError(TestbedError):
    """What the engine would not do; `reason` is its own."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"docker: {what}: {reason}")
        self.reason = reason


class NoEngineError(TestbedError):
    """Nothing answers where the engine is looked for, or it may not be used."""


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
    return " ".join(text.split())[:500]


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn what the SDK raises into a `TestbedError` that begins with `what`."""
    try:
        yield
    except docker.errors.APIError as error:
        raise EngineError(what, reason_of(error)) from error
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise TestbedError(f"docker: {what}: {reason_of(error)}") from error


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
