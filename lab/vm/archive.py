"""Kernels of Debian's archive, fetched by apt from the mirror that this machine uses.

apt gets a state directory of its own: the machine's lists, sources and packages stay what they are,
and an ordinary user may do it. Signatures are checked as ever.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Final

from lab.vm.names import Release, VmError, releases

_WITHIN: Final = 900.0
"""Seconds for one call of apt; on a full disk it waits for ever (2.6)."""
SUITES: Final = ("oldoldstable", "oldstable", "stable", "testing", "unstable")
"""By their standing, so that they need no change with the next release."""
_FRESH: Final = 24 * 3600.0
"""Seconds for which lists are good; a package that is gone from the mirror renews them sooner."""
_KEYRINGS: Final = Path("/usr/share/keyrings")
"""Where debian-archive-keyring puts the archive's keys."""
_PATTERN: Final = "^linux-(image|binary|modules)-[0-9]"


class Archive:
    """The kernels that the mirror has.

    Args:
        directory: apt's state, kept from run to run; made if missing.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._options = [
            *("-o", f"Dir::Etc::SourceList={directory / 'sources.list'}"),
            *("-o", "Dir::Etc::SourceParts=-"),
            *("-o", f"Dir::State::Lists={directory / 'lists'}"),
            *("-o", f"Dir::Cache={directory}"),
            *("-o", "APT::Sandbox::User=root"),
            *("-o", "Acquire::Languages=none"),
        ]

    def kernels(self) -> list[Release]:
        """Return what there is for this machine, oldest first.

        Raises:
            VmError: when apt cannot say.
        """
        stamp = self._directory / "updated"
        if not stamp.exists() or time.time() - stamp.stat().st_mtime > _FRESH:
            self.renew()
        # The pattern goes without an end: which flavours there are, `releases` decides.
        listed = _run(["apt-cache", *self._options, "search", "--names-only", _PATTERN])
        names = [line.split(" ", 1)[0] for line in listed.splitlines()]
        return releases(names, _run(["dpkg", "--print-architecture"]).strip())

    def renew(self) -> None:
        """Fetch the lists of packages.

        Raises:
            VmError: when the machine has no Debian mirror, or it does not answer.
        """
        for part in ("lists/partial", "archives/partial"):
            (self._directory / part).mkdir(parents=True, exist_ok=True)
        mirror, keys = _mirror()
        (self._directory / "sources.list").write_text(
            "".join(f"deb {keys}{mirror} {suite} main\n" for suite in SUITES), encoding="utf-8"
        )
        _run(["apt-get", "-qq", *self._options, "update"])
        (self._directory / "updated").touch()

    def fetch(self, release: Release, into: Path) -> list[Path]:
        """Download a kernel's packages.

        Raises:
            VmError: when apt cannot.
        """
        command = ["apt-get", "-qq", *self._options, "download", *release.packages]
        try:
            _run(command, into)
        except VmError:
            self.renew()
            _run(command, into)
        return sorted(into.glob("*.deb"))


def _mirror() -> tuple[str, str]:
    """Return the address of this machine's Debian archive, and apt's option for its keys."""
    form = "$(ORIGIN)\t$(LABEL)\t$(COMPONENT)\t$(REPO_URI)"
    for line in _run(["apt-get", "indextargets", "--format", form]).splitlines():
        origin, label, component, address = (*line.split("\t"), "", "", "", "")[:4]
        if (origin, label, component) == ("Debian", "Debian", "main"):
            keys = next(_KEYRINGS.glob("debian-archive-keyring.*"), None)
            return address, f"[signed-by={keys}] " if keys else ""
    raise VmError(
        "apt on this machine has no Debian archive to take kernels from",
        "give a kernel with --kernel-deb FILE or --kernel ./vmlinuz",
    )


def _run(command: list[str], directory: Path | None = None) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_WITHIN,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise VmError(
            f"{command[0]} took longer than {_WITHIN:g} s", "is the mirror there?"
        ) from None
    except FileNotFoundError:
        raise VmError(
            f"{command[0]} is not installed: kernels named debian:… come by apt",
            "give --kernel-deb FILE or --kernel ./vmlinuz",
        ) from None
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("E: ")]
        reason = (said or done.stderr.splitlines() or [f"exit code {done.returncode}"])[0]
        raise VmError(f"apt: {reason.removeprefix('E: ')}")
    return done.stdout
