"""One sample: a reading of counters at one moment of the run, as a line of `samples.jsonl`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from loadgen.summary import Number
from loadgen.units import Moment

ROLE_CLIENT: Final = "client"
"""Where the load is made. Another client of the same servers is `client-2`, `client-3` and so on."""
ROLE_SERVER: Final = "server"
"""Where the servers are; behind a proxy, the proxy's backends."""
ROLE_ROUTER: Final = "router"
"""Forwards packets as they are."""
ROLE_NAT: Final = "nat"
"""Forwards packets, with addresses and ports of its own in place of the clients'."""
ROLE_PROXY: Final = "proxy"
"""Ends the clients' connections, and is itself a client of the servers."""
ROLE_HOST: Final = "host"
"""Some box on the way of which nobody said what it is; the machine's own figures stand here too."""
ROLE_GENERATOR: Final = "generator"
BOX_ROLES: Final = (ROLE_ROUTER, ROLE_NAT, ROLE_PROXY)
"""Boxes between client and server of which it is known what they do."""
MIDDLE_ROLES: Final = (*BOX_ROLES, ROLE_HOST)
"""Between client and server."""
KERNEL_ROLES: Final = (ROLE_CLIENT, ROLE_SERVER, *MIDDLE_ROLES)
_OTHER_CLIENT = re.compile(r"client-([2-9]|[1-9][0-9]+)")


def is_kernel_role(text: str) -> bool:
    """Return whether `text` names a namespace that can be sampled: a known role, or `client-2`."""
    return text in KERNEL_ROLES or is_other_client(text)


def is_other_client(role: str) -> bool:
    """Return whether a role is that of a client beside the one that makes the load."""
    return _OTHER_CLIENT.fullmatch(role) is not None


class Sample(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Readings of one role's namespace, or of the generator itself, at one moment.

    `t` is seconds since the first arrival was due, on the run's one clock (CLOCK_MONOTONIC); it is
    negative for the readings taken before. A metric that could not be read is absent, never zero;
    the reason is in `run.json`.
    """

    t: Moment
    role: Annotated[str, Meta(pattern=r"^[a-z]{1,20}(-[0-9]{1,6})?$")]
    values: dict[str, Number]


_decoder = msgspec.json.Decoder(Sample)
_encoder = msgspec.json.Encoder()


def encode_line(sample: Sample) -> bytes:
    """Return the sample as one line of JSON, newline included."""
    return _encoder.encode(sample) + b"\n"


def decode_lines(lines: Iterable[bytes]) -> Iterator[Sample]:
    """Yield the samples of a `samples.jsonl`, passing over lines that were cut off or damaged."""
    for line in lines:
        try:
            yield _decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
