"""Where a run took place, as far as it matters for comparing it with another."""

from __future__ import annotations

import os
import platform
import socket
from importlib import metadata
from pathlib import Path

from loadgen import __version__
from loadgen.summary import Environment


def _first_line(path: str, prefix: str) -> str | None:
    try:
        for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(prefix):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return None


def describe() -> Environment:
    """Return kernel, processors, memory and versions of this machine."""
    system = os.uname()
    memory = _first_line("/proc/meminfo", "MemTotal")
    return Environment(
        host=socket.gethostname(),
        kernel=system.release,
        kernel_build=system.version,
        architecture=system.machine,
        processor=_first_line("/proc/cpuinfo", "model name"),
        cpus=len(os.sched_getaffinity(0)),
        memory_kib=int(memory.split()[0]) if memory else None,
        python=platform.python_version(),
        trio=metadata.version("trio"),
        churnlab=__version__,
    )
