"""Who made something on an engine: a process of this boot of this machine, or of another."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from loadgen.sampling.parse import process_stat

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Return what tells this boot of this machine from all others."""
    return _BOOT.read_text().strip()


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that made something; the value of a label."""

    boot: str
    """The boot_id of its machine."""
    pid: int
    started: int
    """Clock ticks from boot to its start, so that a process id used twice misleads nobody."""

    def __str__(self) -> str:
        """Return the label's value."""
        return f"{self.boot}/{self.pid}/{self.started}"

    @classmethod
    def this(cls) -> Self:
        """Return this process."""
        return cls(boot_id(), os.getpid(), start_of(os.getpid()) or 0)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the owner of a label's value; nobody, for an invalid value."""
        boot, _, rest = text.partition("/")
        pid, _, started = rest.partition("/")
        if not (pid.isdecimal() and started.isdecimal()):
            return cls("", 0, 0)
        return cls(boot, int(pid), int(started))

    def here(self) -> bool:
        """Whether it was a process of this machine since its last start."""
        return self.boot == boot_id()

    def alive(self) -> bool:
        """Whether it still runs, as far as can be told from here: a process elsewhere may."""
        return not self.here() or start_of(self.pid) == self.started


def start_of(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None when it is gone or a zombie."""
    try:
        found = process_stat(Path(f"/proc/{pid}/stat").read_bytes())
    except OSError:
        return None
    return None if found.state in {"Z", "X"} else found.started
