"""What the tests with a real engine share. Where none answers they are skipped and say so.

With CHURNLAB_REQUIRE_DOCKER set, as in CI, a missing engine is a failure.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lab.testbed.base import TestbedError
from lab.testbed.docker.engine import Engine, Leftover
from lab.testbed.docker.orders import LABEL

ROOT = Path(__file__).parents[2]
IMAGE = f"churnlab-test-{zlib.crc32(str(ROOT).encode()):08x}"
"""Each checkout has its own: their tests may share an engine."""
HERE = Path(__file__).parent


def _why_not() -> str:
    """Return why no test here can run, or an empty string."""
    try:
        Engine().close()
    except TestbedError as error:
        return str(error)
    command = ["docker", "compose", "version"]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        return "the docker command is not installed"
    return "docker compose is not installed" if done.returncode else ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder; skip them where there is no engine."""
    ours = [item for item in items if HERE in item.path.parents]
    if not ours:
        return
    missing = "" if os.environ.get("CHURNLAB_REQUIRE_DOCKER") else _why_not()
    for item in ours:
        item.add_marker(pytest.mark.docker)
        # The first one builds the image, from nothing on a new machine.
        item.add_marker(pytest.mark.timeout(400))
        if missing:
            item.add_marker(pytest.mark.skip(reason=missing))


def compose(
    project: str, *arguments: str, variables: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start `docker compose` in a project of its own; all that it says comes on stdout."""
    return subprocess.Popen(
        [
            *("docker", "compose", "--project-name", project, "--progress", "quiet"),
            *("--file", str(ROOT / "compose.yaml"), *arguments),
        ],
        env={**os.environ, "IMAGE": IMAGE, **(variables or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def inspect(*names: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(docker("inspect", *names)) if names else []
    return found


@pytest.fixture(scope="session")
def image() -> Iterator[str]:
    """The image, built from this checkout."""
    with compose(f"{IMAGE}-build", "build") as building:
        said, _ = building.communicate()
    assert building.returncode == 0, said
    yield IMAGE
    docker("image", "rm", "--force", IMAGE)
    docker("image", "prune", "--force", "--filter", f"label={LABEL}")  # what the build replaced


def lab(
    *arguments: str, cwd: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start the `lab` command; its journal, if any, is in `cwd`."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "lab", *arguments],
        cwd=cwd,
        env={**os.environ, "CHURNLAB_STATE": str(cwd / "state"), **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for a command's end; return its code and what it said."""
    with process:
        out, err = process.communicate()
    return process.returncode, out, err


def left_by(pid: int) -> list[Leftover]:
    """Return what a lab process has on the engine."""
    with closing(Engine()) as engine:
        return [one for one in engine.leftovers() if one.owner.pid == pid]
