"""Whose a live socket is: from its cgroup and inode to a process.

A record of the kernel's socket list has two leads. The cgroup id is the inode of the cgroup's
directory in the unified hierarchy, so one look at the directories' inodes names it, however short
the socket lived. The socket's own inode stands behind a link under /proc/PID/fd, which must be read
while the socket is open: of connections that last less than a millisecond none is found that way.
So a cgroup with a single process names it; where there are several, the inode decides, and where
that is gone, the cgroup is all that is said.

On a host without the unified hierarchy, or whose engine does not use it, every socket is of the
root cgroup, and only the inode helps; the process's own /proc/PID/cgroup then says where it runs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadgen.sampling.census import LiveSocket
from loadgen.sampling.pace import Pace

_SHARE: Final = 0.001
"""Of one core, for reading links under /proc and directories of cgroups."""
_MOST_CGROUPS: Final = 20_000
_MOST_LINKS: Final = 50_000
"""Links of one look: a process may have a million."""
_NAME: Final = 40


@dataclass(frozen=True, slots=True)
class Owner:
    """What holds a socket, as far as can be found out; fields that cannot are empty."""

    process: str = ""
    pid: int | None = None
    cgroup: str = ""
    """Its path; `/` is no cgroup in particular."""


class Owners:
    """Names the owners of sockets, at the pace that looking them up allows.

    Args:
        proc: where proc is mounted.
        cgroups: where the unified hierarchy is; None to find it.
    """

    def __init__(self, proc: Path = Path("/proc"), cgroups: Path | None = None) -> None:
        self._proc = proc
        self._root = cgroups if cgroups is not None else _unified(proc)
        self._pace_links, self._pace_cgroups = Pace(_SHARE), Pace(_SHARE)
        self._paths: dict[int, str] = {}
        self._holders: dict[int, int] = {}
        """Processes by socket inode, as last looked up."""

    def of(self, sockets: Sequence[LiveSocket], now: float) -> dict[int, Owner]:
        """Return the owner of each socket by its place in `sockets`.

        Args:
            sockets: live ones.
            now: seconds of CLOCK_MONOTONIC.
        """
        ids = {item.cgroup for item in sockets if item.cgroup is not None}
        if not ids <= self._paths.keys() and self._pace_cgroups.due(now):
            before = time.thread_time()
            self._paths = self._read_cgroups()
            self._pace_cgroups.paid(now, time.thread_time() - before)
        members = {path: self._members(path) for number in ids if (path := self._paths.get(number))}
        wanted = {
            item.inode
            for item in sockets
            if item.inode and len(members.get(self._path(item), ())) != 1
        }
        self._holders = {ino: pid for ino, pid in self._holders.items() if ino in wanted}
        if wanted - self._holders.keys() and self._pace_links.due(now):
            before = time.thread_time()
            anywhere = any(self._path(item) in {"", "/"} for item in sockets)
            pids = None if anywhere else [pid for group in members.values() for pid in group]
            self._holders |= self._read_links(wanted, pids)
            self._pace_links.paid(now, time.thread_time() - before)
        known: dict[tuple[str, int | None], Owner] = {}
        found = {}
        for place, item in enumerate(sockets):
            path = self._path(item)
            group = members.get(path, ())
            pid = group[0] if len(group) == 1 and path != "/" else self._holders.get(item.inode)
            owner = known.get((path, pid))
            if owner is None:
                owner = known[path, pid] = self._owner(path, pid)
            found[place] = owner
        return found

    def _path(self, item: LiveSocket) -> str:
        return self._paths.get(item.cgroup, "") if item.cgroup is not None else ""

    def _owner(self, path: str, pid: int | None) -> Owner:
        if pid is None:
            return Owner(cgroup=path)
        try:
            name = (self._proc / str(pid) / "comm").read_text(errors="replace").strip()
            if path in {"", "/"}:
                path = _innermost((self._proc / str(pid) / "cgroup").read_text(errors="replace"))
        except OSError:
            return Owner(cgroup=path)
        return Owner(name[:_NAME], pid, path)

    def _read_cgroups(self) -> dict[int, str]:
        """Return the path of every cgroup by its id."""
        if self._root is None:
            return {}
        found: dict[int, str] = {}
        with suppress(OSError):
            found[self._root.stat().st_ino] = "/"
        left = [(str(self._root), "")]
        while left and len(found) < _MOST_CGROUPS:
            folder, path = left.pop()
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            found[entry.inode()] = f"{path}/{entry.name}"
                            left.append((entry.path, f"{path}/{entry.name}"))
            except OSError:
                continue
        return found

    def _members(self, path: str) -> tuple[int, ...]:
        """Return the processes of a cgroup, two at most of the root's: there are always several."""
        if self._root is None or path == "/":
            return ()
        try:
            text = (self._root / path.lstrip("/") / "cgroup.procs").read_text()
        except OSError:
            return ()
        # 0 is a process of another pid namespace, which has no number here.
        return tuple(pid for word in text.split()[:1000] if (pid := int(word)))

    def _read_links(self, wanted: set[int], pids: Iterable[int] | None) -> Mapping[int, int]:
        """Return the processes that hold the sockets, by inode."""
        if pids is None:
            pids = [int(path.name) for path in self._proc.iterdir() if path.name.isdecimal()]
        names = {f"socket:[{inode}]": inode for inode in wanted}
        found: dict[int, int] = {}
        looked = 0
        for pid in pids:
            folder = f"{self._proc}/{pid}/fd"
            try:
                links = os.listdir(folder)  # noqa: PTH208 - Path objects would cost as much as the links
            except OSError:
                continue
            # The youngest have the highest numbers, mostly.
            for link in reversed(links):
                looked += 1
                with suppress(OSError):
                    inode = names.get(os.readlink(f"{folder}/{link}"))  # noqa: PTH115 - see above
                    if inode is not None:
                        found[inode] = pid
            if looked >= _MOST_LINKS or len(found) == len(names):
                break
        return found


def _unified(proc: Path) -> Path | None:
    """Return where the unified hierarchy is mounted."""
    try:
        lines = (proc / "self" / "mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 ") and len(before.split()) > 4:
            return Path(before.split()[4])
    return None


def _innermost(text: str) -> str:
    """Return the longest path of /proc/PID/cgroup: the hierarchy in which it is in a cgroup at all."""
    paths = [line.split(":", 2)[2] for line in text.splitlines() if line.count(":") >= 2]
    return max(paths, key=len, default="")
