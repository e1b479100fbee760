"""A small disk for a command that is to fill it."""

from __future__ import annotations

import subprocess
from pathlib import Path


def on_a_disk_of(size: int, place: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command where `place` is a disk of `size` bytes; what is on it then is copied to `kept`."""
    place.mkdir()
    kept = place.with_name("kept")
    script = (
        f'mount -t tmpfs -o size={size} none "{place}" && "$@"; code=$?; '
        f'cp -r "{place}" "{kept}"; exit $code'
    )
    return subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=place.parent,
    )
