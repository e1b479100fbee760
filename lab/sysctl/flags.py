"""Which lines of a tuning would leave a host worse off, or do not do what they are known for.

Advice is written for the kernel of its day. A value that was generous then can be below today's
default; a line can hide a fault instead of mending it. This compares a tuning with the values that
the host has now, before anything is applied, and needs no kernel to do it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from lab.sysctl.catalogue import CATALOGUE, INHERITED
from lab.sysctl.tuning import Setting, Tuning
from lab.sysctl.values import integers, ports, same_value, unfit_value

_RANGE: Final = "net.ipv4.ip_local_port_range"
_RESERVED: Final = "net.ipv4.ip_local_reserved_ports"
_PRIVILEGED: Final = "net.ipv4.ip_unprivileged_port_start"
_BUCKETS: Final = "net.netfilter.nf_conntrack_buckets"
_ENTRIES: Final = "net.netfilter.nf_conntrack_max"

DAEMONS: Final = (
    (11211, 11211, "memcached"),
    (6379, 6379, "Redis"),
    (3306, 3306, "MySQL"),
    (5432, 5432, "PostgreSQL"),
    (8080, 8080, "HTTP"),
    (8443, 8443, "HTTPS"),
    (9092, 9092, "Kafka"),
    (9200, 9200, "Elasticsearch"),
    (9300, 9300, "Elasticsearch's cluster"),
    (5672, 5672, "RabbitMQ"),
    (15672, 15672, "RabbitMQ's console"),
    (25672, 25672, "RabbitMQ's cluster"),
    (26379, 26379, "Redis Sentinel"),
    (27017, 27017, "MongoDB"),
    (9042, 9042, "Cassandra"),
    (7000, 7001, "Cassandra's cluster"),
    (2379, 2380, "etcd"),
    (6443, 6443, "Kubernetes' API"),
    (10250, 10250, "kubelet"),
    (30000, 32767, "Kubernetes NodePorts"),
    (8300, 8302, "Consul"),
    (8500, 8500, "Consul's API"),
    (9090, 9090, "Prometheus"),
    (9100, 9100, "node_exporter"),
    (8125, 8125, "StatsD"),
    (5601, 5601, "Kibana"),
)
"""Ports that daemons listen on by default: first, last, name; the best known first."""

_NAMED_AT_MOST: Final = 4
_SMALL_SHARE: Final = 0.1
"""Of the range: what the reservation of the daemons' own ports takes is less than that."""


def flags(tuning: Tuning, host: Mapping[str, str]) -> list[str]:
    """Return one line for each doubt about a tuning, in the file's order.

    Args:
        tuning: what is to be applied.
        host: the values in force now, by dotted key; for a key that is missing, only what can be
            said without it is said.
    """
    found = []
    for setting in tuning.settings:
        if unfit_value(setting.key, setting.value):
            continue  # written `-key`: it will not hold, and is told so
        doubts = _lowered(setting, host)
        for check in _CHECKS.get(setting.key, ()):
            doubts += check(setting, tuning.values, host)
        found += [
            f"line {setting.line}: {setting.key} = {setting.value}: {doubt}" for doubt in doubts
        ]
    return found


def departures(fresh: Mapping[str, str]) -> list[str]:
    """Return one line for each catalogued key whose value in a fresh namespace is not the documented.

    `kernel-default` sets nothing and trusts that a new namespace starts from the kernel's own
    constants. This is the check of that trust: a line here means a patched kernel, a kernel of
    another age, or a value that came from the host.

    Args:
        fresh: values read in a namespace to which no tuning was applied, by dotted key.
    """
    found = []
    for key, value in fresh.items():
        entry = CATALOGUE.get(key)
        if entry is None or entry.scope == "host" or key in INHERITED or not entry.default:
            continue
        if not same_value(key, entry.default, value):
            note = f" ({entry.default_note})" if entry.default_note else ""
            found.append(
                f"{key} is {value} in a fresh namespace; the documented default is "
                f"{entry.default}{note}"
            )
    return found


_Check = Callable[[Setting, Mapping[str, str], Mapping[str, str]], list[str]]


def _lowered(setting: Setting, host: Mapping[str, str]) -> list[str]:
    """A limit below what the host has now."""
    entry = CATALOGUE.get(setting.key)
    if entry is None or entry.better == "neither" or setting.key == _BUCKETS:
        return []
    new, now = integers(setting.value), integers(host.get(setting.key, ""))
    if new is None or now is None or new[-1] == now[-1]:
        return []
    worse = new[-1] < now[-1] if entry.better == "higher" else new[-1] > now[-1]
    if not worse:
        return []
    verb = "lowers" if entry.better == "higher" else "raises"
    price = f" ({entry.price})" if setting.key == "net.ipv4.tcp_max_tw_buckets" else ""
    return [f"{verb} this host's {host[setting.key]}{price}"]


def _buckets(setting: Setting, values: Mapping[str, str], host: Mapping[str, str]) -> list[str]:
    new, now = integers(setting.value), integers(host.get(_BUCKETS, ""))
    if new is None or now is None or not 0 < new[0] < now[0]:
        return []
    share = "halves" if new[0] * 2 == now[0] else "lowers"
    doubt = f"{share} this host's {now[0]} buckets"
    limit = integers(values.get(_ENTRIES, host.get(_ENTRIES, "")))
    if limit is not None:
        # Each entry is in the table twice: once for each direction.
        doubt += (
            f": at a full table of {limit[0]} entries a chain has {2 * limit[0] / new[0]:.3g} nodes"
            f" instead of {2 * limit[0] / now[0]:.3g}"
        )
    return [doubt]


def _port_range(setting: Setting, values: Mapping[str, str], host: Mapping[str, str]) -> list[str]:
    new = integers(setting.value)
    if new is None:
        return []
    first, last = new[:2]
    count = last - first + 1
    doubts = []
    if count % 2:
        even = f"{first} {last - 1}" if count > 1 else f"{first} {last + 1}"
        doubts.append(
            f"{count} ports are an odd number: the kernel logs 'prefer different parity for "
            f"start/end values'; {even} avoids it"
        )
    now = integers(host.get(_RANGE, ""))
    if now is not None and len(now) == 2 and count < now[1] - now[0] + 1:
        least = now[1] - now[0] + 1
        doubts.append(
            f"has {count} ports, fewer than this host's {least}: it takes away {least - count:,}"
        )
    start = integers(values.get(_PRIVILEGED, host.get(_PRIVILEGED, "")))
    if start is not None and first < start[0]:
        doubts.append(
            f"begins below ip_unprivileged_port_start ({start[0]}): the kernel rejects it"
        )
    taken = _daemons(first, last, values.get(_RESERVED, host.get(_RESERVED, "")), now)
    if taken:
        shown = ", ".join(taken[:_NAMED_AT_MOST])
        more = f" and {len(taken) - _NAMED_AT_MOST} more" if len(taken) > _NAMED_AT_MOST else ""
        doubts.append(
            f"takes in ports of daemons: {shown}{more}; an outgoing connection can hold one of "
            f"them, and the daemon then cannot start: list yours in {_RESERVED}"
        )
    return doubts


def _daemons(first: int, last: int, reserved: str, now: tuple[int, ...] | None) -> list[str]:
    """Return the daemons' ports in a range, but for reserved ones and those in the host's range."""
    spans = ports(reserved) or ()

    def exposed(port: int) -> bool:
        if now is not None and len(now) == 2 and now[0] <= port <= now[1]:
            return False
        return first <= port <= last and not any(low <= port <= high for low, high in spans)

    found = []
    for low, high, name in DAEMONS:
        hit = [port for port in range(low, high + 1) if exposed(port)]
        if hit:
            span = f"{hit[0]}" if hit[0] == hit[-1] else f"{hit[0]}-{hit[-1]}"
            found.append(f"{span} ({name})")
    return found


def taken_by(reserved: str, span: str) -> tuple[int, int] | None:
    """Return how many ports of a range a list of reserved ports takes away, and how many it has.

    Args:
        reserved: a value of net.ipv4.ip_local_reserved_ports.
        span: a value of net.ipv4.ip_local_port_range.

    Returns:
        None where one of them is no such value.
    """
    lists, bounds = ports(reserved), integers(span)
    if lists is None or bounds is None or len(bounds) != 2:
        return None
    low, high = bounds
    taken = sum(max(0, min(last, high) - max(first, low) + 1) for first, last in lists)
    return taken, max(0, high - low + 1)


def _reserved(setting: Setting, values: Mapping[str, str], host: Mapping[str, str]) -> list[str]:
    span = values.get(_RANGE, host.get(_RANGE, ""))
    return [*_taken(setting, span), *_dropped(setting, host)]


def _taken(setting: Setting, span: str) -> list[str]:
    """A reservation that takes a good part of the range; a few ports of daemons are no doubt."""
    found = taken_by(setting.value, span)
    if found is None or found[0] < max(1, found[1] * _SMALL_SHARE):
        return []
    taken, every = found
    where = "-".join(span.split())
    if taken >= every:
        return [f"takes away all {every:,} ports of the range {where}: no connect() finds a port"]
    return [f"takes away {taken:,} of the {every:,} ports of the range {where}"]


def _dropped(setting: Setting, host: Mapping[str, str]) -> list[str]:
    """Ports that were reserved and are not any more: the line replaces the list."""
    new, now = ports(setting.value), ports(host.get(_RESERVED, ""))
    if new is None or not now:
        return []
    kept = {port for low, high in new for port in range(low, high + 1)}
    lost = [
        f"{low}-{high}" if low != high else f"{low}"
        for low, high in now
        if any(port not in kept for port in range(low, high + 1))
    ]
    return [f"drops ports that this host reserves now: {','.join(lost)}"] if lost else []


def _timestamps(setting: Setting, values: Mapping[str, str], _: Mapping[str, str]) -> list[str]:
    if integers(setting.value) != (0,):
        return []
    reuse = values.get("net.ipv4.tcp_tw_reuse", "2")
    asked = f" (this file sets it to {reuse})" if "net.ipv4.tcp_tw_reuse" in values else ""
    return [f"without timestamps tcp_tw_reuse{asked} reuses nothing, and PAWS is lost"]


def _reuse(setting: Setting, values: Mapping[str, str], host: Mapping[str, str]) -> list[str]:
    new = integers(setting.value)
    stamps = integers(
        values.get("net.ipv4.tcp_timestamps", host.get("net.ipv4.tcp_timestamps", ""))
    )
    if new == (2,):
        return ["reuses on loopback only: no help for connections to another host"]
    if new == (0,):
        return ["turns reuse off, on loopback too; kernels since about 4.19 have 2"]
    if new == (1,) and stamps == (0,) and "net.ipv4.tcp_timestamps" not in values:
        return ["does nothing while this host has tcp_timestamps = 0"]
    return []


def _step_width(setting: Setting, values: Mapping[str, str], host: Mapping[str, str]) -> list[str]:
    width = integers(setting.value)
    if not width or not width[0]:
        return []
    doubts = [
        "spreads ports more evenly, and neither adds any nor shortens the search for the last ones"
    ]
    spans = ports(values.get(_RESERVED, host.get(_RESERVED, ""))) or ()
    largest = max((high - low + 1 for low, high in spans), default=0)
    if largest >= width[0]:
        doubts.append(
            f"does little: the kernel's documentation asks for more than the largest reserved block, "
            f"which has {largest} ports"
        )
    return doubts


def _fin_timeout(*_: object) -> list[str]:
    return ["does not shorten TIME_WAIT, only FIN-WAIT-2; TIME_WAIT is 60 s by constant"]


def _syncookies(setting: Setting, *_: object) -> list[str]:
    off = integers(setting.value) == (0,)
    return (
        ["a full SYN queue now drops connections instead of answering with cookies"] if off else []
    )


def _abort(setting: Setting, *_: object) -> list[str]:
    on = integers(setting.value) not in {(0,), None}
    return ["turns a burst that a retry would survive into connection resets"] if on else []


_CHECKS: Final[dict[str, tuple[_Check, ...]]] = {
    _BUCKETS: (_buckets,),
    _RANGE: (_port_range,),
    _RESERVED: (_reserved,),
    "net.ipv4.ip_local_port_step_width": (_step_width,),
    "net.ipv4.tcp_timestamps": (_timestamps,),
    "net.ipv4.tcp_tw_reuse": (_reuse,),
    "net.ipv4.tcp_fin_timeout": (_fin_timeout,),
    "net.ipv4.tcp_syncookies": (_syncookies,),
    "net.ipv4.tcp_abort_on_overflow": (_abort,),
}
