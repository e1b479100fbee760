"""The generator's own limit, and two faults at once."""

from __future__ import annotations

from tests.faults import deeds
from tests.faults.fault import STRICT, Fault

FAULTS: tuple[Fault, ...] = (
    Fault(
        "generator too slow",
        "200,000/s asked of one worker, ports in plenty",
        ("generator_saturated",),
        once="the generator has no history",
        # Replies pile up beside the arrivals: not the server's limit is what this is about.
        serve=deeds.options("-c", "15000"),
        load=("--rate", "200000", "--duration", "0.8", "--close", "server", *STRICT),
        alone=True,
    ),
    Fault(
        "ports exhausted and conntrack full on the server",
        "100 ports, 200 connections, and the server's table filled up to 30 entries",
        ("ephemeral_ports_exhausted", "conntrack_full_server"),
        prepare=deeds.all_of(deeds.ports(20000, 20099), deeds.track("server")),
        approach=deeds.fill("server", 30),
        before=deeds.fill("server"),
        load=("--rate", "200", "--duration", "1", "--timeout", "1.5"),
    ),
    Fault(
        "firewall and accept queue, both on the server",
        "nft drops each third SYN, listen(4) and a server that accepts 50/s",
        ("accept_queue_overflow", "firewall_server"),
        serve=deeds.SHORT_QUEUE,
        deed=deeds.all_of(
            deeds.TURN_BAD,
            deeds.rule(
                "server",
                "input",
                f"{deeds.FROM_CLIENT} tcp flags & (syn|ack) == syn numgen inc mod 3 == 0 counter drop",
            ),
        ),
    ),
)
