"""Why attempts succeeded: a success needs a cause too, or nobody knows whether it will last."""

from __future__ import annotations

from loadgen.diagnosis.kinds import HOPS
from loadgen.diagnosis.observation import Observation
from loadgen.diagnosis.port_use import PortUse
from loadgen.sample import ROLE_CLIENT, ROLE_SERVER
from loadgen.summary import Evidence, Explanation

_TW = "netstat_TcpExt_TW"
_NEAR = 0.5
"""Of a limit, below which a run did not approach it: connect() turns slow at half the ports."""


def explanations(observation: Observation) -> list[Explanation]:
    """Return what kept the run's connections from failing, as far as counters show it."""
    if not observation.totals.ok:
        return []
    found = []
    recycled = observation.change("netstat_TcpExt_TWRecycled")
    if recycled:
        text = "{n} connects took over a port in TIME_WAIT (tcp_tw_reuse)"
        found.append(_counted(observation, "time_wait_reused", "TWRecycled", ROLE_CLIENT, text))
    server_side = observation.change(_TW, ROLE_SERVER)
    client_side = observation.change(_TW)
    if server_side > client_side:
        text = "the server closed first and holds the TIME_WAIT sockets ({n})"
        found.append(_counted(observation, "server_holds_time_wait", "TW", ROLE_SERVER, text))
    if observation.config.close == "rst" and not client_side:
        text = "connections were reset, which leaves no TIME_WAIT socket on either side"
        found.append(_counted(observation, "closed_by_reset", "TW", ROLE_CLIENT, text))
    for role in HOPS:
        if observation.change("nf_conntrack_stat_early_drop", role):
            metric = "nf_conntrack_stat_early_drop"
            text = f"conntrack ({role}) evicted {{n}} unanswered entries to make room"
            item = observation.counter(metric, role, text)
            found.append(Explanation(name="conntrack_early_drop", text=item.text, evidence=[item]))
    if not found:
        found.extend(_never_near(observation))
    return found


def _counted(observation: Observation, name: str, field: str, role: str, text: str) -> Explanation:
    item = observation.counter(f"netstat_TcpExt_{field}", role, text)
    return Explanation(name=name, text=item.text, evidence=[item])


def _never_near(observation: Observation) -> list[Explanation]:
    """Return that the run came nowhere near a limit, if all that were read say so."""
    totals = observation.totals
    if totals.lost:
        return []
    evidence = [*_ports(observation), *_tables(observation)]
    if not evidence or any(_share(item) >= _NEAR for item in evidence):
        return []
    text = "no limit was approached: " + ", ".join(item.text for item in evidence)
    return [Explanation(name="limit_not_approached", text=text, evidence=evidence)]


def _share(item: Evidence) -> float:
    assert isinstance(item.value, int | float)
    assert isinstance(item.limit, int | float)
    return item.value / item.limit


def _ports(observation: Observation) -> list[Evidence]:
    use = PortUse(observation.samples.get(ROLE_CLIENT, ()), observation.config)
    most = observation.most("ephemeral_ports_in_use")
    if most is None or not use.limit:
        return []
    return [_of(most, use.limit, "ports toward one destination in use")]


def _tables(observation: Observation) -> list[Evidence]:
    found = []
    for name, what in (
        ("sockstat_TCP_tw", "sockets in TIME_WAIT"),
        ("nf_conntrack_entries", "conntrack entries"),
    ):
        for role in HOPS:
            most = observation.most(name, role)
            limit = observation.metric(f"{name}_limit", role)
            if most is not None and most.value and limit is not None and limit.last:
                found.append(_of(most, limit.last, f"{what} ({role})"))
    return found


def _of(most: Evidence, limit: float, what: str) -> Evidence:
    return Evidence(
        metric=most.metric,
        value=most.value,
        limit=limit,
        role=most.role,
        at=most.at,
        text=f"{most.value:,} of {limit:,} {what}",
    )
