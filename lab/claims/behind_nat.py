"""What becomes of a claim where a NAT stands between client and server. Pure.

`lab claims` tests between two hosts. These claims read differently behind a NAT, seen on Linux 6.18
with `lab run --topology nat` and `lab sweep --validate` (docs/topologies.md); the others stay as they
are.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

BEHIND_NAT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ports-per-server": "the NAT's own ports toward each destination bound all its clients together; "
        "the client's range bounds the client alone",
        "more-ports-help": "a wider range on the client moves the client's own wall and no limit of the "
        "NAT's",
        "reuse-prevents-failures": "where the NAT's table is the limit, a port that is used again keeps its "
        "entry and a new one needs another: a few fewer are lost, and the limit stays",
        "reuse-spares-conntrack": "the same of the NAT's table: in 5 s at 2,000/s with room for 5,000 "
        "entries, 41.8 % were lost with tcp_tw_reuse = 1 on the client and 50.0 % without",
        "conntrack-overflow-fails": "it is the NAT's table that counts: its own size and timers decide, and "
        "no setting of client or server does",
        "reuse-when-safe": "two clients behind one address have different clocks: a port that the NAT uses "
        "again can meet the other's TIME_WAIT on a server that closes first, and is answered with an ACK",
    }
)
"""By the claim's name."""
