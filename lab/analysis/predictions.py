"""What the capacity model says about an experiment's arms, beside what was measured. Pure.

The model is given what the trials themselves recorded: the settings read back in their namespaces,
the effective options of their runs and the kernel's release. Nothing is fitted to the outcome.
Figures that hang on how fast this machine searches for a port (the rate in the collapse, the number
served meanwhile) are left out: a forecast of them would be one of the machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from statistics import median
from typing import Any, Final, Literal

from lab.analysis.compare import sort_trials
from lab.analysis.records import Experiment, Prediction
from lab.capacity import (
    LIMITS,
    CapacityError,
    Forecast,
    Kernel,
    Load,
    Settings,
    Situation,
    behind_proxy,
    close_seen,
    forecast,
    time_wait_sockets,
)
from loadgen.sample import ROLE_CLIENT, ROLE_NAT, ROLE_PROXY, ROLE_SERVER
from loadgen.summary import Summary

_NEAR: Final = 0.05
"""Within this share of a predicted capacity a load may go either way, and contradicts nothing."""
_SETTLES: Final = frozenset({"port_search_slow", "ports_exhausted"})
"""What throttles a load to what it can hold; a full table drops of it whatever comes."""
_ENTRIES: Final = "nf_conntrack_entries"
_TIME_WAIT: Final = "sockstat_TCP_tw"


def situation_of(
    summary: Summary,
    sysctls: Mapping[str, Mapping[str, str]],
    *,
    nat_ports: tuple[int, int] | None = None,
    service: float = 0.0,
    seen: Mapping[str, bool] | None = None,
) -> Situation | None:
    """Return the situation that a run was in; None for one that the model does not describe.

    Behind a NAT the table that tracks the load is the NAT's. Behind a proxy this is the situation of
    the proxy's clients; `behind_proxy` has that of the proxy.

    Args:
        summary: of the run.
        sysctls: read back in its namespaces, by role and dotted key.
        nat_ports: what the NAT's rule names.
        service: seconds that a server took for a connection's requests.
        seen: what the kernel was seen to do; None to go by its release.

    Raises:
        CapacityError: when a setting or an option cannot be.
    """
    config = summary.config
    steady = config.schedule in {"constant", "poisson"} and not config.closed_loop
    if not steady or config.rate is None or config.warmup or config.requests_per_connection != 1:
        return None
    client = sysctls.get(ROLE_CLIENT, {})
    table = ROLE_NAT if ROLE_NAT in sysctls else ROLE_SERVER
    entries = summary.kernel.get(table, {}).get(_ENTRIES)
    # A table that nothing uses stays at the handful of entries that the set-up left.
    tracked = entries is not None and entries.delta > 0
    load = Load(
        rate=config.rate / config.shard[1],
        duration=config.duration,
        close=close_seen(config.close, config.protocol, tls=config.tls is not None),
        sources=len(config.source_addresses) or 1,
        destinations=len(set(config.addresses)),
        loopback=all(ip_address(host).is_loopback for host, _ in config.addresses),
        local_port_range=config.local_port_range,
        bind_early=config.bind_early and bool(config.source_addresses),
        rtt=0.0,
        service=service,
        tolerance=config.max_lateness,
        timeout=min(config.connect_timeout, config.timeout),
        tracked=tracked,
        tracked_before=int(entries.first) if tracked and entries is not None else 0,
        nat=table == ROLE_NAT,
        nat_ports=nat_ports,
    )
    settings = Settings.of(client, sysctls.get(ROLE_SERVER), sysctls.get(ROLE_NAT))
    kernel = Kernel.of(summary.environment.kernel or "", seen)
    return Situation(load=load, settings=settings, kernel=kernel)


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    # A loss that some trials did not have is no measurement of when it comes.
    return median(known) if known and 2 * len(known) > len(values) else None


def _loss(arm: str, found: Forecast, summaries: Sequence[Summary]) -> list[Prediction]:
    first = found.first_loss
    losing = sum(1 for summary in summaries if summary.first_failure_at is not None)
    lost = _median([summary.lost for summary in summaries])
    if first is None or first.lost_at is None:
        return [
            Prediction(
                name=f"{arm}: connections lost", predicted=0, measured=lost, wrong=bool(lost)
            )
        ]
    # A loss that most trials did not have did not come: the prediction is wrong, not unmeasured.
    came = 2 * losing > len(summaries)
    until = Prediction(
        name=f"{arm}: connections until {LIMITS[first.name].until}",
        predicted=round(first.lost_after or 0),
        measured=_median([summary.started_before_first_failure for summary in summaries]),
        outcome="measured" if came else "never",
        wrong=not came,
    )
    moment = Prediction(
        name=f"{arm}: first loss after",
        predicted=first.lost_at,
        measured=_median([summary.first_failure_at for summary in summaries]),
        unit="s",
        outcome="measured" if came else "never",
        wrong=not came,
    )
    return [until, moment]


def _capacity(
    arm: str, situation: Situation, found: Forecast, summaries: Sequence[Summary]
) -> list[Prediction]:
    if found.sustainable_rate is None:
        return []
    settled = (
        found.bound_by in _SETTLES
        and found.ports.hold < (situation.load.duration or 0)
        and not found.holds
    )
    losing = [s.rate.achieved for s in summaries if s.lost]
    # Asked for more than it can hold, a load with reuse settles at what it can.
    measured = _median(losing) if settled and losing else None
    rate, most = situation.load.rate, found.sustainable_rate
    outcome: Literal["measured", "at_least", "below", "not_shown"] = (
        "not_shown" if measured is None else "measured"
    )
    wrong = False
    if not losing and rate > most * (1 + _NEAR):
        measured, outcome, wrong = rate, "at_least", True
    elif 2 * len(losing) > len(summaries) and rate < most * (1 - _NEAR):
        measured, outcome, wrong = rate, "below", True
    return [
        Prediction(
            name=f"{arm}: highest rate without a loss, for {situation.load.duration:g} s",
            predicted=most,
            measured=measured,
            unit="/s",
            outcome=outcome,
            wrong=wrong,
        )
    ]


def _sockets(
    arm: str, situation: Situation, found: Forecast, summaries: Sequence[Summary]
) -> list[Prediction]:
    """TIME_WAIT sockets at the end, where the search's speed has no part in it."""
    load, side = situation.load, found.time_wait.side
    broken = {limit.name for limit in found.limits}
    slow = "port_search_slow" in broken
    if load.duration is None or side == "nobody" or (slow and not found.ports.reuse):
        return []
    if any(LIMITS[name].silent for name in broken):
        # Connections that were never answered leave no TIME_WAIT socket behind.
        return []
    ranges = [summary.kernel.get(side, {}).get(_TIME_WAIT) for summary in summaries]
    return [
        Prediction(
            name=f"{arm}: most TIME_WAIT sockets on the {side}",
            predicted=round(time_wait_sockets(situation, load.duration)),
            measured=_median([None if found is None else found.max for found in ranges]),
        )
    ]


def predictions(
    experiment: Experiment, summaries: Mapping[str, Summary | None]
) -> list[Prediction]:
    """Return each arm's forecast beside the medians of its trials that count.

    Args:
        experiment: the record of the experiment.
        summaries: by the trial's directory; None where there is none to read.
    """
    rows: list[Prediction] = []
    for arm in experiment.arms:
        counted = sort_trials(experiment, summaries, arm.name).summaries
        trial = next((one for one in experiment.trials if one.arm == arm.name and one.used), None)
        if not counted or trial is None or not trial.sysctls:
            continue
        try:
            rows += _rows(experiment, arm.name, trial.sysctls, counted)
        except (CapacityError, ValueError):
            # A setting that no model of today knows; the report goes without its forecast.
            continue
    return rows


def _rows(
    experiment: Experiment,
    arm: str,
    sysctls: Mapping[str, Mapping[str, str]],
    counted: Sequence[Summary],
) -> list[Prediction]:
    config = experiment.config
    situation = situation_of(
        counted[0],
        sysctls,
        nat_ports=config.nat_ports or None,
        seen=experiment.environment.behaviour,
    )
    if situation is None:
        return []
    found = forecast(situation)
    sockets = _sockets(arm, situation, found, counted)
    if ROLE_PROXY in sysctls and config.proxy == "haproxy":
        proxy = behind_proxy(
            situation,
            sysctls[ROLE_PROXY],
            sysctls.get(ROLE_SERVER),
            config.servers or 1,
        )
        theirs = forecast(proxy)
        if any(limit.name == "port_search_slow" and limit.loses for limit in theirs.limits):
            # What a proxy that is slow to connect does to its clients is no figure of this model.
            return sockets
        first = [
            one.first_loss.lost_at or 0.0 if one.first_loss else math.inf for one in (found, theirs)
        ]
        if first[1] < first[0] or (theirs.sustainable_rate or math.inf) < (
            found.sustainable_rate or math.inf
        ):
            situation, found = proxy, theirs
    return [
        *_loss(arm, found, counted),
        *_capacity(arm, situation, found, counted),
        *sockets,
    ]


def error(prediction: Prediction) -> float | None:
    """Return by which share of the measured value the prediction was off; None without both."""
    if prediction.outcome != "measured":
        return None
    measured: Any = prediction.measured
    if measured is None or measured == 0:
        return 0.0 if measured == 0 and prediction.predicted == 0 else None
    return float((prediction.predicted - measured) / measured)
