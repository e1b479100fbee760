"""Servers that speak something else than memcached's text protocol, or want a password first.

A server that does not understand may wait, close, reset or answer in its own tongue. So it is asked
what it speaks, once, when the outcomes give reason to (`loadgen.run.spoken`); here only the answer is
read.
"""

from __future__ import annotations

from loadgen.diagnosis.causes import AUTHENTICATION_WANTED, WRONG_PROTOCOL
from loadgen.diagnosis.observation import Ledger, Observation
from loadgen.outcome import Outcome
from loadgen.sample import ROLE_SERVER
from loadgen.summary import Cause, Evidence

UNSUITED = (
    Outcome.MALFORMED_REPLY,
    Outcome.SERVER_ERROR,
    Outcome.NOT_AUTHENTICATED,
    Outcome.REPLY_TIMEOUT,
    Outcome.TRUNCATED_REPLY,
    Outcome.RESET,
)
"""How an attempt at such a server may end."""
PASSWORD = "memcached that wants a password"  # noqa: S105 - a name, not a password
TLS = "TLS"
BINARY = "memcached's binary protocol"
_HELP = {
    TLS: "add --tls, or write memcacheds://",
    BINARY: "start memcached with -B auto or -B ascii",
}


def another_protocol(observation: Observation, ledger: Ledger) -> list[Cause]:
    """Attempts at a server that turned out to speak something else."""
    if not observation.spoken:
        return []
    evidence = [
        observation.count_evidence(outcome, ledger.outcomes[outcome])
        for outcome in UNSUITED
        if ledger.outcomes.get(outcome)
    ]
    count = ledger.take(UNSUITED)
    if not count:
        return []
    for address, protocol in observation.spoken.items():
        text = f"asked after the run, {address} spoke {protocol}"
        evidence.append(Evidence(metric="protocol", value=protocol, role=ROLE_SERVER, text=text))
    protocol = next(iter(observation.spoken.values()))
    if protocol == PASSWORD:
        return [AUTHENTICATION_WANTED.explains(count, evidence)]
    words = {"protocol": f": it is {protocol}", "help": _HELP.get(protocol, "")}
    if not words["help"]:
        words["help"] = "check the target's address and port: another service listens there"
    return [WRONG_PROTOCOL.explains(count, evidence, words=words)]
