"""What a fresh network namespace of this kernel has: the ground that a forecast stands on.

The kernel fills a new namespace from its own constants, however the host is tuned
(lab/tunings/kernel-default.conf), so its values are this kernel's defaults.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from lab.apply import own_sysctls, read_sysctls
from lab.testbed.base import TestbedError
from lab.testbed.userns import ensure_privileges
from loadgen.namespace import NamespaceError, new_namespace

NO_NAMESPACE = (
    "no fresh namespace may be made here, so what the tuning does not set was taken from this host "
    "as it is"
)


def fresh_values(keys: Iterable[str]) -> tuple[dict[str, str], str]:
    """Return sysctls of a new namespace by dotted key; keys that it does not have are left out.

    Returns:
        The values, and a note: `NO_NAMESPACE` where they are the host's own instead, else nothing.
    """
    try:
        ensure_privileges()
        namespace = new_namespace()
    except (TestbedError, NamespaceError, RuntimeError):
        return own_sysctls(keys), NO_NAMESPACE
    try:
        return read_sysctls(namespace, keys), ""
    finally:
        os.close(namespace)
