"""Real guests, an older kernel and a newer one, and a panic.

The whole matrix is one command: lab claims --kernel debian:5.10 --kernel debian:6.1 … --kernel here
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from lab.vm.cache import Kernel, resolve
from lab.vm.machine import Accelerator, Machine, check_tools, run
from lab.vm.names import GuestError, VmError
from lab.vm.script import script
from loadgen.run.environment import GUEST

ROOT = Path(__file__).parents[3]
OLDER, NEWER = "debian:5.10", "debian:newest"
EXPERIMENTS = "test_small_experiments_decide_as_the_sources_let_expect"

pytestmark = [pytest.mark.kernel, pytest.mark.vm, pytest.mark.timeout(900)]


def kernel(name: str) -> Kernel:
    """The kernel; the test is skipped where none can be had, unless that is forbidden."""
    try:
        check_tools()
        return resolve(name, ())
    except VmError as error:
        if os.environ.get("CHURNLAB_REQUIRE_VM"):
            raise
        pytest.skip(str(error))


def in_guest(booted: Kernel, command: Sequence[str], shared: Path) -> tuple[int, str]:
    """Run a command of this checkout in a guest; return its exit code and all that it printed."""
    printed = io.BytesIO()

    def make_script(job: Path, accelerator: Accelerator) -> str:
        about = json.dumps({"accelerator": accelerator})
        return script(
            job=job,
            directory=ROOT,
            command=command,
            environment={GUEST: about, "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": "/var/tmp",
                         "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin"},
        )  # fmt: skip

    code = run(
        Machine(kernel=booted, shared=[shared]),
        make_script,
        stdout=printed,
        stderr=printed,
        say=lambda _: None,
    )
    return code, printed.getvalue().decode(errors="replace")


@pytest.mark.parametrize("name", [OLDER, NEWER])
def test_another_kernel_decides_as_its_sources_predict(name: str, tmp_path: Path) -> None:
    """The quick experiments of `lab claims`, judged for that kernel's version and memory."""
    tests = "tests/lab/claims/test_runner.py"
    pytest_there = [
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "timeout=600"),
        f"{tests}::{EXPERIMENTS}",
    ]
    code, printed = in_guest(kernel(name), pytest_there, tmp_path)
    assert code == 0, printed
    assert "1 passed" in printed


def test_a_kernel_that_panics_is_one_line(tmp_path: Path) -> None:
    crash = ["sh", "-c", "echo c >/proc/sysrq-trigger"]
    with pytest.raises(GuestError, match=r"panicked: Kernel panic - not syncing: sysrq triggered"):
        in_guest(kernel(OLDER), crash, tmp_path)
