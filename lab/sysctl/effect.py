"""Whether two arms differ in anything that decides connects, once their tunings hold. Pure.

The catalogue names every key that decides whether a short connection succeeds (`Sysctl.bears`). Two
arms that differ in none of them are one arm twice, and no number of trials tells them apart.
"""

from __future__ import annotations

from collections.abc import Mapping

from lab.sysctl.catalogue import CATALOGUE
from lab.sysctl.values import same_value

_TRACKING = "net.netfilter.nf_conntrack_"


def differing(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return the keys whose values in force differ between two arms, in their order.

    A key that only one of them could read counts as different.
    """
    keys = dict.fromkeys([*before, *after])
    return [
        key
        for key in keys
        if key not in before or key not in after or not same_value(key, before[key], after[key])
    ]


def deciding(keys: list[str]) -> list[str]:
    """Return those of the keys that decide whether a connection succeeds."""
    return [key for key in keys if (entry := CATALOGUE.get(key)) is not None and entry.bears]


def only_tracking(keys: list[str]) -> bool:
    """Return whether keys are about connection tracking and nothing else."""
    return bool(keys) and all(key.startswith(_TRACKING) for key in keys)
