"""Packets that are lost, rejected or led elsewhere."""

from __future__ import annotations

from tests.faults import deeds
from tests.faults.fault import PATIENT, Fault
from tests.faults.network import CLIENT, PORT, SERVER

_NO_WAY = "198.19.0.0/16"
_NO_WAY_BACK = "198.18.0.0/16"

FAULTS: tuple[Fault, ...] = (
    Fault(
        "packet loss",
        "60 % of the SYN/ACKs dropped at the client's device, uncounted",
        ("packet_loss",),
        deed=lambda stage: stage.network.lose(stage.network.client, percent=60),
        load=PATIENT,
    ),
    Fault(
        "firewall drops on the client",
        "nft drop in the client's output",
        ("firewall_client",),
        deed=deeds.rule("client", "output", f"tcp dport {PORT} drop"),
        load=PATIENT,
    ),
    Fault(
        "firewall rejects on the client, RST",
        "nft reject with tcp reset in the client's output",
        ("firewall_client",),
        deed=deeds.rule("client", "output", f"tcp dport {PORT} reject with tcp reset"),
    ),
    Fault(
        "firewall rejects on the client, ICMP",
        "nft reject with icmp admin-prohibited in the client's output",
        ("firewall_client",),
        deed=deeds.rule(
            "client", "output", f"tcp dport {PORT} reject with icmp type admin-prohibited"
        ),
        load=PATIENT,
    ),
    Fault(
        "firewall rejects on the client, port unreachable",
        "nft reject in the client's output",
        ("firewall_client",),
        deed=deeds.rule("client", "output", f"tcp dport {PORT} reject"),
        load=PATIENT,
    ),
    Fault(
        "firewall drops on the server",
        "nft drop in the server's input",
        ("firewall_server",),
        deed=deeds.rule("server", "input", f"{deeds.FROM_CLIENT} drop"),
    ),
    Fault(
        "firewall rejects on the server, RST",
        "nft reject with tcp reset in the server's input",
        ("firewall_server",),
        deed=deeds.rule("server", "input", f"{deeds.FROM_CLIENT} reject with tcp reset"),
    ),
    Fault(
        "firewall rejects on the server, ICMP",
        "nft reject with icmp admin-prohibited in the server's input",
        ("firewall_server",),
        deed=deeds.rule(
            "server", "input", f"{deeds.FROM_CLIENT} reject with icmp type admin-prohibited"
        ),
        load=PATIENT,
    ),
    Fault(
        "firewall drops between",
        "nft drop in a router's forward chain",
        ("firewall_between",),
        deed=deeds.rule("middle", "forward", f"{deeds.FROM_CLIENT} drop"),
        middle="router",
    ),
    Fault(
        "rp_filter on the server",
        "rp_filter=1 on the server, whose route to the client leads elsewhere",
        ("reverse_path_filter_server",),
        prepare=deeds.ip(
            "server",
            "link add elsewhere type veth peer name nowhere",
            "link set elsewhere up",
            "link set nowhere up",
        ),
        deed=deeds.all_of(
            deeds.setting("server", "net.ipv4.conf.all.rp_filter", "1"),
            deeds.ip("server", f"route replace {CLIENT}/32 dev elsewhere"),
        ),
        # Hosts with a history have met: the filter answers no ARP request either.
        before=deeds.all_of(
            deeds.greet,
            deeds.setting("server", "net.ipv4.conf.all.rp_filter", "1"),
            deeds.ip("server", f"route replace {CLIENT}/32 dev elsewhere"),
        ),
        load=PATIENT,
    ),
    Fault(
        "no route to the server",
        "the client's route deleted",
        ("no_route",),
        deed=deeds.ip("client", f"route del {_NO_WAY}"),
    ),
    *(
        Fault(
            f"{kind} route on the client",
            f"the client's route to the server is a {kind} route",
            ("no_route",),
            deed=deeds.ip("client", f"route replace {kind} {_NO_WAY}"),
        )
        for kind in ("blackhole", "prohibit", "unreachable")
    ),
    Fault(
        "no route between",
        "a router's route to the server deleted",
        ("no_route_between",),
        deed=deeds.ip("middle", f"route del {_NO_WAY}"),
        middle="router",
        load=PATIENT,
    ),
    *(
        Fault(
            f"{kind} route between",
            f"a router's route to the server is a {kind} route",
            ("no_route_between",),
            deed=deeds.ip("middle", f"route add {kind} {SERVER}/32"),
            middle="router",
            load=PATIENT,
        )
        for kind in ("blackhole", "prohibit", "unreachable")
    ),
    Fault(
        "no route back",
        "the server's route to the client deleted",
        ("no_way_back",),
        deed=deeds.ip("server", f"route del {_NO_WAY_BACK}"),
    ),
    Fault(
        "blackhole route back",
        "the server's route to the client is a blackhole route",
        ("no_way_back",),
        deed=deeds.ip("server", f"route replace blackhole {_NO_WAY_BACK}"),
        load=PATIENT,
    ),
    Fault(
        "next hop dead",
        "the client's route leads to an address that nobody has",
        ("unreachable",),
        deed=deeds.ip("client", f"route replace {_NO_WAY} via 198.18.7.7 dev lan"),
        load=("--rate", "50", "--duration", "1", "--timeout", "4"),
    ),
)
