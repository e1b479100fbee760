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

import msgspec
import pytest

from lab.claims.records import Claims
from lab.vm.cache import GuestKernel, resolve
from lab.vm.machine import Accelerator, Machine, check_tools, run
from lab.vm.names import GuestError, VmError
from lab.vm.script import script
from loadgen.run.environment import GUEST

ROOT = Path(__file__).parents[3]
OLDER, NEWER = "debian:5.10", "debian:newest"
CLAIMS = (
    "conntrack-default-sizes",
    "conntrack-ratio-4",
    "conntrack-eightfold",
    "default-port-range",
    "number-of-ports",
    "reuse-default-0",
    "reuse-prevents-failures",
)
"""Those that hang on version or memory, or on which all else rests, and take seconds."""

pytestmark = [pytest.mark.kernel, pytest.mark.vm, pytest.mark.timeout(900)]


def kernel(name: str) -> GuestKernel:
    """The kernel; the test is skipped where none can be had, unless that is forbidden."""
    try:
        check_tools()
        return resolve(name, ())
    except VmError as error:
        if os.environ.get("CHURNLAB_REQUIRE_VM"):
            raise
        pytest.skip(str(error))


def in_guest(booted: GuestKernel, command: Sequence[str], shared: Path) -> tuple[int, str]:
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
    """Claims that hang on the kernel's version, judged for that version and the guest's memory."""
    booted, written = kernel(name), tmp_path / "claims.json"
    chosen = [word for claim in CLAIMS for word in ("--only", claim)]
    command = [sys.executable, "-m", "lab", "claims", "--json", str(written), *chosen]
    code, printed = in_guest(booted, command, tmp_path)
    assert code == 0, printed
    found = msgspec.json.decode(written.read_bytes(), type=Claims)
    assert found.kernel == booted.release
    assert (found.environment.guest or {})["accelerator"] in {"kvm", "emulation"}
    assert {result.name for result in found.claims} == set(CLAIMS)
    assert [result.name for result in found.claims if result.surprising or not result.figure] == []


def test_a_kernel_that_panics_is_one_line(tmp_path: Path) -> None:
    crash = ["sh", "-c", "echo c >/proc/sysrq-trigger"]
    with pytest.raises(GuestError, match=r"panicked: Kernel panic - not syncing: sysrq triggered"):
        in_guest(kernel(OLDER), crash, tmp_path)
