"""compose.yaml's variables for two tunings, as an env file. Pure.

Each arm gets every variable, also those that its tuning does not set: an empty one stays the
kernel's own, and the file is complete whatever compose.yaml's defaults are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from lab.sysctl.catalogue import CATALOGUE
from lab.sysctl.names import obsolete
from lab.sysctl.tuning import Setting, Tuning, TuningError, where
from loadgen.foreign import one_line

VARIABLES: Final[Mapping[str, str]] = {
    "TCP_TW_REUSE": "net.ipv4.tcp_tw_reuse",
    "IP_LOCAL_PORT_RANGE": "net.ipv4.ip_local_port_range",
    "IP_LOCAL_RESERVED_PORTS": "net.ipv4.ip_local_reserved_ports",
    "TCP_TIMESTAMPS": "net.ipv4.tcp_timestamps",
    "TCP_MAX_TW_BUCKETS": "net.ipv4.tcp_max_tw_buckets",
    "TCP_FIN_TIMEOUT": "net.ipv4.tcp_fin_timeout",
    "TCP_SYN_RETRIES": "net.ipv4.tcp_syn_retries",
    "TCP_MAX_SYN_BACKLOG": "net.ipv4.tcp_max_syn_backlog",
    "TCP_SYNCOOKIES": "net.ipv4.tcp_syncookies",
    "TCP_ABORT_ON_OVERFLOW": "net.ipv4.tcp_abort_on_overflow",
    "SOMAXCONN": "net.core.somaxconn",
    "NF_CONNTRACK_TCP_TIMEOUT_TIME_WAIT": "net.netfilter.nf_conntrack_tcp_timeout_time_wait",
}
"""compose.yaml's own variables, without the arm's BEFORE_ or AFTER_."""
FREE: Final = 4
"""How many SYSCTL_… variables it has for all other keys."""


def render(arms: Mapping[str, Tuning]) -> str:
    """Return the env file that gives each arm its tuning.

    Raises:
        TuningError: for lines that no container can have, or more than there are variables for.
    """
    sources = one_line(
        "; ".join(f"{arm}: {tuning.name} ({tuning.source})" for arm, tuning in arms.items())
    )
    lines = [f"# docker compose --env-file THIS up   {sources}"]
    for arm, tuning in arms.items():
        lines += ["", *_arm(arm, tuning)]
    return "".join(f"{line}\n" for line in lines)


def _arm(arm: str, tuning: Tuning) -> Iterable[str]:
    known = {key: variable for variable, key in VARIABLES.items()}
    values = dict.fromkeys(VARIABLES, "")
    others: list[Setting] = []
    for setting in tuning.settings:
        why = _no_container(setting)
        if why and not setting.may_fail and not _is_host(setting):
            raise TuningError(f"{where(tuning, setting.line)}: {setting.key}: {why}")
        if why:
            yield one_line(f"# left out: {setting.key} = {setting.value}: {why}")
        elif setting.key in known:
            values[known[setting.key]] = setting.value
        else:
            others.append(setting)
    if len(others) > FREE:
        names = ", ".join(setting.key for setting in others)
        raise TuningError(
            f"{where(tuning, others[FREE].line)}: compose.yaml has {FREE} variables for keys other "
            f"than its own, and these are {len(others)}: {names}; use lab run --testbed docker"
        )
    prefix = arm.upper()
    yield f"{prefix}_NAME={_quoted(one_line(tuning.name))}"
    for variable, value in values.items():
        yield f"{prefix}_{variable}={_quoted(value)}"
    for number in range(1, FREE + 1):
        setting_text = "".join(f"{one.key}={one.value}" for one in others[number - 1 : number])
        yield f"{prefix}_SYSCTL_{number}={_quoted(setting_text)}"


def _is_host(setting: Setting) -> bool:
    entry = CATALOGUE.get(setting.key)
    return not setting.key.startswith("net.") or (entry is not None and entry.scope == "host")


def _no_container(setting: Setting) -> str:
    """Return why no container can have a setting of its own, or an empty string."""
    past = obsolete(setting.key)
    if past is not None:
        return f"{past.why}{f'; use {past.became}' if past.became else '; delete the line'}"
    if _is_host(setting):
        return "the host's, for all containers; set it there if it matters"
    return ""


def _quoted(value: str) -> str:
    """Return a value as env files have it: single quotes keep everything as it is but themselves."""
    if "'" in value:
        escaped = re.sub(r'(["$\\\\])', r"\\\1", value)
        return f'"{escaped}"'
    return f"'{value}'" if set(value) & set(' #$"\\') else value
