"""The checks of `lab doctor`, each a function that returns rows."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from lab.doctor.probe import Probed, tracked, tracks
from lab.doctor.records import Check, Diagnosis, State
from lab.testbed.base import TestbedError, most_connections
from lab.testbed.host import journal
from lab.testbed.host.journal import JournalError
from lab.testbed.processes import slowness, tool
from loadgen.run.resolve import usable_cpus
from loadgen.search import Kernel

_PROBE_WITHIN: Final = 60
_FEW_DESCRIPTORS: Final = 10_000
_BRIDGE: Final = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
_NAMESPACES, _DOCKER, _KERNEL, _MACHINE = "Network namespaces", "Docker", "Kernel", "This machine"


def _row(group: str, name: str, state: State, found: str, remedy: str = "") -> Check:
    return Check(group=group, name=name, state=state, found=found, remedy=remedy)


def _tried(group: str, name: str, why_not: str, *, works: str, remedy: str) -> Check:
    """Return the row of a feature that the lab can do without."""
    if not why_not:
        return _row(group, name, "ok", works)
    return _row(group, name, "limited", why_not, remedy)


def namespaces(probed: Probed) -> list[Check]:
    """Whether trials can have namespaces of their own, and what these can do."""
    if probed.namespaces:
        return [_row(_NAMESPACES, "trials", "missing", probed.namespaces, probed.remedy)]
    how = "as an ordinary user, in a user namespace" if probed.as_user else "as root"
    return [
        _row(_NAMESPACES, "trials", "ok", how),
        _tried(
            _NAMESPACES,
            "conntrack",
            probed.conntrack,
            works="a namespace tracks connections when a rule asks for it",
            remedy="modprobe nf_conntrack nf_tables; apt install nftables. Needed by lab claims",
        ),
        _tried(
            _NAMESPACES,
            "netem",
            "no round trip can be emulated" if probed.netem else "",
            works="--rtt works",
            remedy="a kernel with sch_netem (modprobe sch_netem). Without it only --rtt is missing",
        ),
    ]


def kernel(probed: Probed) -> list[Check]:
    """What this kernel has, found by trying."""
    tell = {
        "tcp_tw_reuse": (probed.tw_reuse, "Linux 2.4.19 or later; run as root in a namespace"),
        "tcp_tw_reuse_delay": (
            probed.tw_reuse_delay,
            "Linux 6.14. Without it a port is free again after about 1 s, always",
        ),
        "IP_LOCAL_PORT_RANGE": (
            probed.local_port_range,
            "Linux 6.3. Without it --local-port-range does not work",
        ),
        "IP_BIND_ADDRESS_NO_PORT": (
            probed.bind_no_port,
            "Linux 4.2. Without it several source addresses share one pool of ports",
        ),
        "sock_diag": (
            probed.sock_diag,
            "modprobe tcp_diag. Without it ports in use and accept queues are not sampled",
        ),
    }
    rows = [
        _tried(_KERNEL, name, why_not, works="works", remedy=remedy)
        for name, (why_not, remedy) in tell.items()
        if why_not != "not tried"
    ]
    if probed.behaviour:
        rows.append(_row(_KERNEL, "port search", "ok", _search(probed.behaviour)))
    return rows


_SEARCHES: Final = {
    "parity_first": ("ports of one parity first", "all ports in turn"),
    "skips": ("in random steps", "one after the other"),
    "whole_seconds": ("tcp_tw_reuse by whole seconds", "tcp_tw_reuse by milliseconds"),
}


def _search(seen: Mapping[str, bool]) -> str:
    """Return how connect() finds a port, and what of it this release does not tell."""
    words = ", ".join(pair[not seen[name]] for name, pair in _SEARCHES.items() if name in seen)
    usual = Kernel.of(os.uname().release)
    other = [name for name, value in seen.items() if getattr(usual, name) != value]
    if not other:
        return words
    return f"{words}; not as its release says: {', '.join(other)}"


def conntrack() -> list[Check]:
    """Where connections are tracked: on the host itself, and what crosses its bridges."""
    found = tracked()
    if found is None:
        return [_row(_KERNEL, "conntrack here", "note", "not loaded: nothing is tracked")]
    here = (
        "active: every connection of this host is tracked, which costs CPU and table entries"
        if tracks(found)
        else "loaded, and idle: no rule asks for it"
    )
    try:
        bridged = _BRIDGE.read_text().strip() == "1"
    except OSError:
        bridged = False
    return [
        _row(_KERNEL, "conntrack here", "note", here),
        _row(
            _KERNEL,
            "conntrack on bridges",
            "note",
            "packets between containers pass this host's rules, and its table when it tracks"
            if bridged
            else "none: packets between containers do not come to this host's rules",
        ),
    ]


def programs() -> list[Check]:
    """The programs that trials are made of."""
    rows = []
    for name, needed_for in (
        ("memcached", "every trial"),
        ("ip", "every trial"),
        ("nft", "lab claims"),
        ("conntrack", "lab claims"),
    ):
        try:
            path = tool(name)
        except TestbedError as error:
            rows.append(_row(_MACHINE, name, "missing", error.problem, error.remedy))
            continue
        rows.append(_row(_MACHINE, name, "ok", f"{path}, for {needed_for}"))
    return rows


def machine() -> list[Check]:
    """Processors and limits."""
    cpus, most = usable_cpus(), most_connections()
    return [
        _row(_MACHINE, "processors", "ok", f"{cpus}")
        if cpus > 1
        else _row(
            _MACHINE,
            "processors",
            "limited",
            "1: generator and server share it",
            "two or more; else give a low --rate",
        ),
        _row(_MACHINE, "open files", "ok", f"enough for {most:,} connections at once")
        if most >= _FEW_DESCRIPTORS
        else _row(
            _MACHINE,
            "open files",
            "limited",
            f"enough for {most:,} connections at once",
            "raise the hard limit: ulimit -Hn 65536, or LimitNOFILE= of the service",
        ),
    ]


def host_settings() -> list[Check]:
    """Whether a lab that was killed has left the host's settings changed."""
    name = "host settings"
    try:
        pending = journal.read(journal.JournalPlace())
    except JournalError as error:
        return [_row(_MACHINE, name, "missing", error.problem, error.remedy)]
    if pending is None:
        return [_row(_MACHINE, name, "ok", "no lab has left any changed")]
    changes = ", ".join(f"{one.key} was {one.before}" for one in pending.changes)
    return [
        _row(
            _MACHINE,
            name,
            "limited",
            f"changed by a lab (process {pending.pid}): {changes}",
            "when that lab is not running any more: lab restore",
        )
    ]


def docker() -> list[Check]:
    """The engine, its image, and what labs have left on it."""
    # The SDK takes 0.2 s to import.
    from lab.testbed.docker.engine import Engine  # noqa: PLC0415 - 0.2 s for the SDK that only this check needs
    from loadgen.fleet.engine import endpoint  # noqa: PLC0415 - the same

    try:
        engine = Engine()
    except TestbedError as error:
        return [_row(_DOCKER, "engine", "missing", error.problem, error.remedy), _compose()]
    try:
        about = engine.about
        rows = [_row(_DOCKER, "engine", "ok", _described(about, endpoint())), _compose()]
        try:
            engine.check_image()
            rows.append(_row(_DOCKER, "image", "ok", engine.image))
        except TestbedError as error:
            rows.append(_row(_DOCKER, "image", "missing", error.problem, error.remedy))
        stale = [one for one in engine.leftovers() if not (one.owner.here() and one.owner.alive())]
        rows.append(
            _row(
                _DOCKER,
                "leftovers",
                "limited",
                f"{len(stale)} containers, networks and volumes of labs that are gone",
                "lab restore",
            )
            if stale
            else _row(_DOCKER, "leftovers", "ok", "none")
        )
    except TestbedError as error:
        rows = [_row(_DOCKER, "engine", "missing", error.problem, error.remedy)]
    finally:
        engine.close()
    return rows


def _described(about: Mapping[str, Any], where: str) -> str:
    return f"{about['Version']} (API {about['ApiVersion']}) at {where}"


def _compose() -> Check:
    try:
        done = subprocess.run(
            ["docker", "compose", "version", "--short"],
            capture_output=True,
            text=True,
            timeout=_PROBE_WITHIN,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        done = None
    if done is None or done.returncode != 0:
        return _row(
            _DOCKER,
            "compose",
            "limited",
            "docker compose is not installed",
            "install the Compose plugin. Only `docker compose up` needs it",
        )
    return _row(_DOCKER, "compose", "ok", done.stdout.strip())


def _probed() -> Probed:
    """Return what the probe found, or why there was none."""
    patience = _PROBE_WITHIN * slowness()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "lab.doctor.probe"],
            capture_output=True,
            timeout=patience,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Probed(
            namespaces=f"the probe said nothing within {patience:g} s",
            remedy="try again when the machine is less busy",
        )
    try:
        return msgspec.json.decode(done.stdout, type=Probed)
    except msgspec.DecodeError:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        return Probed(namespaces=f"the probe failed: {said[-1] if said else done.returncode}")


def diagnose() -> Diagnosis:
    """Carry out every check."""
    probed = _probed()
    tools, engine = programs(), docker()
    needed = [row for row in tools if row.name in {"memcached", "ip"}]
    return Diagnosis(
        kernel=os.uname().release,
        testbeds={
            "netns": not probed.namespaces and all(row.state == "ok" for row in needed),
            "docker": not any(row.state == "missing" for row in engine),
        },
        checks=[
            *namespaces(probed),
            *engine,
            *kernel(probed),
            *conntrack(),
            *machine(),
            *tools,
            *host_settings(),
        ],
    )
