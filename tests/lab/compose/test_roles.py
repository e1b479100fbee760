"""The roles of compose.yaml, started as a container starts them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def start(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a role to its end."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "lab.compose", *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "error: no such role: none given\n"),
        (("dance",), "error: no such role: dance\n"),
        (("client",), "error: not an order: client\n"),
        (("plan", "now"), "error: not an order: plan now\n"),
    ],
)
def test_an_unknown_role_or_order_is_one_line(arguments: tuple[str, ...], said: str) -> None:
    done = start(*arguments)
    assert done.returncode == 1
    assert done.stderr == said


def test_a_wrong_variable_ends_the_plan_with_one_line() -> None:
    done = start("plan", RATE="fast")
    assert done.returncode == 1
    assert done.stderr == "error: RATE=fast: not a number from 1 to 1e+06\n"
