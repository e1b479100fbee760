"""The catalogue of sysctls: its own rules, and its ranges on the kernel at hand."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path

import pytest

from lab.sysctl.catalogue import CATALOGUE, INHERITED, Sysctl
from lab.sysctl.names import obsolete, to_path
from lab.sysctl.tuning import canonical_key
from lab.sysctl.values import integers
from loadgen.sampling.namespace import new_namespace, run_inside

RELEASE = tuple(int(number) for number in re.findall(r"\d+", os.uname().release)[:2])
PROBED = (6, 18)


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.key)
def test_an_entry_is_complete_and_consistent(entry: Sysctl) -> None:
    assert canonical_key(entry.key) == entry.key
    assert entry.does
    assert not entry.does.endswith(".")
    if entry.low is not None and entry.high is not None:
        assert entry.low < entry.high
    if entry.default and entry.kind in {"integer", "integers"}:
        numbers = integers(entry.default)
        assert numbers is not None
        assert all(entry.low is None or number >= entry.low for number in numbers)
        assert all(entry.high is None or number <= entry.high for number in numbers)
    assert obsolete(entry.key) is None


def test_inherited_keys_have_no_constant_default() -> None:
    assert INHERITED
    assert not any(CATALOGUE[key].default for key in INHERITED)


def _write(path: Path, value: str) -> str | None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, value.encode() + b"\n")
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return " ".join(path.read_text().split())


@pytest.mark.kernel
@pytest.mark.parametrize(
    "entry",
    [
        entry
        for entry in CATALOGUE.values()
        if entry.scope == "namespace" and entry.kind == "integer"
    ],
    ids=lambda entry: entry.key,
)
def test_the_permitted_range_is_this_kernels(entry: Sysctl) -> None:
    """The kernel takes both ends of each catalogued range and, where it was probed, no more."""
    path = Path("/proc/sys", to_path(entry.key))
    ports = Path("/proc/sys/net/ipv4/ip_local_port_range")
    namespace = new_namespace()
    try:
        if not run_inside(namespace, path.is_file):
            pytest.skip("this kernel has no such key")
        run_inside(namespace, partial(_write, ports, "65535 65535"))
        for end, beside in ((entry.low, -1), (entry.high, 1)):
            if end is None:
                continue
            assert run_inside(namespace, partial(_write, path, str(end))) == str(end)
            if RELEASE >= PROBED:
                assert run_inside(namespace, partial(_write, path, str(end + beside))) is None
    finally:
        os.close(namespace)
