"""What goes wrong with the Docker engine, as one line each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import docker.errors
import requests.exceptions

from lab.testbed.base import TestbedError
from loadgen.fleet.engine import reason_of


class EngineError(TestbedError):
    """What the engine would not do; `reason` is its own."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"docker: {what}: {reason}")
        self.reason = reason


class NoEngineError(TestbedError):
    """Nothing answers where the engine is looked for, or it may not be used."""


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn what the SDK raises into a `TestbedError` that begins with `what`."""
    try:
        yield
    except docker.errors.APIError as error:
        raise EngineError(what, reason_of(error)) from error
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise TestbedError(f"docker: {what}: {reason_of(error)}") from error
