"""Causes that an outcome names by itself, and what is left when no rule applies."""

from __future__ import annotations

from loadgen.diagnosis.observation import Ledger, Observation
from loadgen.outcome import Outcome
from loadgen.sample import ROLE_GENERATOR
from loadgen.summary import Cause, Evidence, Fault

UNEXPLAINED = "unexplained"
GENERATOR_SATURATED = "generator_saturated"

_PLAIN: tuple[tuple[str, Fault, tuple[Outcome, ...], str, str], ...] = (
    (
        "client_out_of_file_descriptors",
        "client_host",
        (Outcome.FD_EXHAUSTED,),
        "the client had no file descriptor left",
        "raise the limit of open files (ulimit -n, LimitNOFILE=) or lower --max-in-flight; each "
        "open connection takes one descriptor",
    ),
    (
        "client_out_of_memory",
        "client_host",
        (Outcome.NO_MEMORY,),
        "the client's kernel had no memory for another socket",
        "look at net.ipv4.tcp_mem and the memory limit of the client's control group",
    ),
    (
        "denied_on_client",
        "client_host",
        (Outcome.DENIED,),
        "a rule on the client's host forbids the connection",
        "look for an nft or iptables rule, a `prohibit` route, a security module or a control "
        "group's BPF program",
    ),
    (
        "source_address_missing",
        "client_host",
        (Outcome.BAD_SOURCE,),
        "the source address does not belong to the client's host",
        "add the address (ip addr add), or leave it out of --source-ip",
    ),
    (
        "malformed_reply",
        "server",
        (Outcome.MALFORMED_REPLY,),
        "the server's reply is not memcached's protocol",
        "check that the target is a memcached and speaks the text protocol",
    ),
    (
        "server_error",
        "server",
        (Outcome.SERVER_ERROR,),
        "the server answered with an error",
        "look into the server's log; SERVER_ERROR out of memory takes a larger memcached -m",
    ),
    (
        "server_resets",
        "server",
        (Outcome.RESET,),
        "the server reset established connections",
        "look into the server's log: it crashed, was restarted or refuses its clients",
    ),
    (
        "server_closes_early",
        "server",
        (Outcome.TRUNCATED_REPLY,),
        "the server closed connections before its reply was complete",
        "look into the server's log: it crashed, was restarted or refuses its clients",
    ),
)


def plain_causes(observation: Observation, ledger: Ledger) -> list[Cause]:
    """Return one cause for each outcome that needs no counters to be understood."""
    causes = []
    for name, fault, outcomes, title, remedy in _PLAIN:
        evidence = [
            observation.count_evidence(outcome, ledger.outcomes[outcome])
            for outcome in outcomes
            if ledger.outcomes.get(outcome)
        ]
        count = ledger.take(outcomes)
        if count:
            causes.append(
                Cause(
                    cause=name,
                    fault=fault,
                    connections=count,
                    first_at=_earliest(evidence),
                    evidence=evidence,
                    title=title,
                    remedy=remedy,
                )
            )
    return causes


def generator_saturated(observation: Observation, ledger: Ledger) -> list[Cause]:
    """Arrivals that the generator itself was too slow for."""
    count, ledger.generator_drops = ledger.generator_drops, 0
    if not count:
        return []
    attribution = observation.attribution
    return [
        Cause(
            cause=GENERATOR_SATURATED,
            fault="generator",
            connections=count,
            first_at=observation.first_at("drop_overdue"),
            evidence=[
                Evidence(
                    metric="generator_dropped",
                    value=count,
                    role=ROLE_GENERATOR,
                    text=(
                        f"{count:,} arrivals were overdue while connect() was not slow "
                        f"({attribution.baseline_connect * 1e6:.0f} µs a call)"
                    ),
                )
            ],
            title="the generator could not keep up with the schedule",
            remedy="lower --rate, give it more --workers, or keep other work off its cores",
        )
    ]


def unexplained(observation: Observation, ledger: Ledger) -> list[Cause]:
    """Return what is still open, with what was ruled out."""
    evidence = [
        observation.count_evidence(Outcome(outcome), count)
        for outcome, count in ledger.outcomes.items()
        if count
    ]
    count = ledger.take([Outcome(outcome) for outcome in ledger.outcomes])
    if not count:
        return []
    ruled_out = "; ".join(ledger.ruled_out)
    return [
        Cause(
            cause=UNEXPLAINED,
            fault="network",
            connections=count,
            first_at=_earliest(evidence),
            evidence=evidence,
            title="no counter explains these" + (f" (ruled out: {ruled_out})" if ruled_out else ""),
            remedy="sample the server's namespace too (--netns), and look at the evidence below",
        )
    ]


def _earliest(evidence: list[Evidence]) -> float | None:
    return min((item.at for item in evidence if item.at is not None), default=None)
