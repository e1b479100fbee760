"""The article on packets and round trips."""

from __future__ import annotations

from lab.claims.claim import Claim
from lab.claims.findings import Delayed, Packets
from lab.claims.records import Verdict

HANDSHAKE = ["client SYN", "server SYN/ACK", "client ACK"]
ARTICLES_HANDSHAKE = ["client SYN", "server ACK", "client SYN/ACK"]
ARTICLES_PACKETS = 15


def handshake_order(found: Packets) -> Verdict:
    """Decide by the flags of the first three segments."""
    return "confirmed" if found.handshake == ARTICLES_HANDSHAKE else "refuted"


def at_least_ten(found: Packets) -> Verdict:
    """Decide by the fewest segments of a request whose client closes with FIN, as described."""
    return "confirmed" if found.client_close_range[0] >= 10 else "refuted"


def a_round_trip_a_packet(found: Packets) -> Verdict:
    """Decide by the round trips: the article multiplies the packets with the round-trip time."""
    return "confirmed" if found.trips_whole >= found.client_close else "refuted"


def takes_fifteen_round_trips(found: Delayed) -> Verdict:
    """Decide by the time to the reply under an emulated round trip: half of 15 is the border."""
    return "confirmed" if found.reply >= ARTICLES_PACKETS / 2 * found.rtt else "refuted"


_TIME = "Thus, a connection from beginning to end should take ~9 ms. That's 0.009 seconds."

ENTRIES = (
    Claim(
        name="handshake-order",
        says="a handshake is SYN, then ACK from the server, then SYN/ACK from the client",
        quote="TCP handshake: client sends TCP SYN, server responds TCP ACK, client sends TCP SYN/ACK",
        row=1,
        finding=Packets,
        metric="flags of the first three segments",
        expected=", ".join(ARTICLES_HANDSHAKE),
        figure=lambda found: ", ".join(found.handshake),
        rule=handshake_order,
        readings={
            "confirmed": "the handshake is as the article has it",
            "refuted": "the server answers with SYN/ACK and the client acknowledges: nothing "
            "depends on it here, but a packet filter written after the article would not work",
        },
        paper="refuted",
        sources=("RFC 9293, 3.5",),
    ),
    Claim(
        name="packets-per-connection",
        says="a request over its own connection takes at least 10 packets",
        quote="So, for a classic memcache request from a client to a server, we will have at least "
        "10 packets exchanges",
        row=2,
        finding=Packets,
        metric="segments of one get, the client closing with FIN",
        expected="10 or more",
        figure=lambda found: f"{found.client_close} (quit {found.server_close}, RST {found.reset})",
        rule=at_least_ten,
        readings={
            "confirmed": "right when both ends close with FIN; a RST saves most of the closing",
            "refuted": "the kernel merged segments: fewer than the article counts",
        },
        paper="confirmed",
        instead="keep connections open where the client library can: most of the packets are spent "
        "on opening and closing",
    ),
    Claim(
        name="round-trip-per-packet",
        says="each packet of a connection costs a round trip",
        quote=_TIME,
        row=3,
        finding=Packets,
        metric="round trips between the SYN and the server's FIN",
        expected="as many as packets",
        figure=lambda found: (
            f"{found.trips_whole} round trips for {found.client_close} packets; the client "
            f"waits for {found.trips_waited}"
        ),
        rule=a_round_trip_a_packet,
        readings={
            "confirmed": "each packet waited for the one before",
            "refuted": "packets are not round trips: the client waits for the handshake and for "
            "the reply, so a connection takes two round trips, not fifteen",
        },
        paper="refuted",
    ),
    Claim(
        name="connection-time",
        says="a connection takes 15 times the round-trip time",
        quote=_TIME,
        row=3,
        finding=Delayed,
        metric="time from connect() to the reply, in round trips of an emulated delay",
        expected="15",
        figure=lambda found: f"{found.reply / found.rtt:.1f}",
        rule=takes_fifteen_round_trips,
        readings={
            "confirmed": "as slow as the article says",
            "refuted": "two round trips: 1.2 ms at the article's 0.6 ms, not 9 ms",
        },
        paper="refuted",
    ),
)
