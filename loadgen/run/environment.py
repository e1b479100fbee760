"""Where a run took place, as far as it matters for comparing it with another."""

from __future__ import annotations

import json
import os
import platform
import socket
from importlib import metadata
from pathlib import Path
from typing import Final

from loadgen import __version__
from loadgen.summary import EMULATED, Environment

GUEST: Final = "CHURNLAB_GUEST"
"""Environment variable: what a virtual machine runs on, as JSON, from whoever started it."""


def _first_line(path: str, prefix: str) -> str | None:
    try:
        for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(prefix):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return None


def _guest(processor: str | None) -> dict[str, str] | None:
    """Return what is known of the machine around this one; None where this is a real one, or hides it.

    QEMU's emulated processors say what they are, whoever started the guest.
    """
    try:
        told = json.loads(os.environ.get(GUEST, "{}"))
    except ValueError:
        told = {}
    about = {str(key): str(value) for key, value in told.items()} if isinstance(told, dict) else {}
    if processor and "QEMU TCG" in processor:
        about["accelerator"] = EMULATED
    return about or None


def describe() -> Environment:
    """Return kernel, processors, memory and versions of this machine, and of its host's if any."""
    system = os.uname()
    memory = _first_line("/proc/meminfo", "MemTotal")
    processor = _first_line("/proc/cpuinfo", "model name")
    return Environment(
        host=socket.gethostname(),
        kernel=system.release,
        kernel_build=system.version,
        architecture=system.machine,
        processor=processor,
        cpus=len(os.sched_getaffinity(0)),
        memory_kib=int(memory.split()[0]) if memory else None,
        python=platform.python_version(),
        trio=metadata.version("trio"),
        churnlab=__version__,
        guest=_guest(processor),
    )
