"""What a fresh network namespace of this kernel has: the ground that a forecast stands on.

The kernel fills a new namespace from its own constants, however the host is tuned
(lab/tunings/kernel-default.conf), so its values are this kernel's defaults.

An ordinary user needs a user namespace for that (`lab.testbed.userns`), which a process enters for
good. Reading a few values is no reason to do that to the caller, who may have a Docker engine to
talk to: a child process does it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable

from lab.sysctl.apply import own_sysctls, read_sysctls
from lab.testbed.base import TestbedError
from lab.testbed.userns import ensure_privileges, has_privileges
from loadgen.sampling.namespace import NamespaceError, new_namespace

NO_NAMESPACE = (
    "no fresh namespace may be made here, so what the tuning does not set was taken from this host "
    "as it is"
)


def fresh_values(keys: Iterable[str]) -> tuple[dict[str, str], str]:
    """Return sysctls of a new namespace by dotted key; keys that it does not have are left out.

    Returns:
        The values, and a note: `NO_NAMESPACE` where they are the host's own instead, else nothing.
    """
    wanted = list(keys)
    try:
        return (_read(wanted) if has_privileges() else _ask_a_child(wanted)), ""
    except (NamespaceError, TestbedError):
        return own_sysctls(wanted), NO_NAMESPACE


def _read(keys: list[str]) -> dict[str, str]:
    """Raises `NamespaceError` when no namespace may be made."""
    namespace = new_namespace()
    try:
        return read_sysctls(namespace, keys)
    finally:
        os.close(namespace)


def _ask_a_child(keys: list[str]) -> dict[str, str]:
    """Raises `TestbedError` when a user namespace is forbidden."""
    done = subprocess.run(
        [sys.executable, "-m", "lab.testbed.fresh"],
        input=json.dumps(keys),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise TestbedError(done.stderr.strip() or f"exit code {done.returncode}")
    values: dict[str, str] = json.loads(done.stdout)
    return values


def main() -> None:
    """Read the keys on standard input, as JSON, and write their values."""
    try:
        ensure_privileges()
        sys.stdout.write(json.dumps(_read(json.load(sys.stdin))))
    except (TestbedError, NamespaceError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
