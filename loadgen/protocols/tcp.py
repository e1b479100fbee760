"""A connection and nothing else, or bytes that the user gives: `--send` and `--expect`.

For whatever has no file of its own here. Without either, an attempt is a handshake and a close.
With `--send` alone it is over when the bytes are sent. With `--expect` the server's answer has to
begin with these bytes; whatever comes in the same piece belongs to it.
"""

from __future__ import annotations

from functools import partial

from loadgen.config import RunConfig
from loadgen.protocols.parsing import Literal, Reply, Rest, Steps, ToEnd
from loadgen.protocols.seam import Protocol, Request, Script, close_modes
from loadgen.target import Credentials
from loadgen.units import parse_bytes

EXPECTED = Reply("expected")
CONNECTED = Reply("connected")
OPERATION = "connect"
"""All that there is."""


def _expected(data: bytes) -> Steps:
    yield Literal(data)
    yield Rest()
    return EXPECTED


def _anything() -> Steps:
    yield ToEnd()
    return CONNECTED


def _gets(op: str) -> float:
    if op != OPERATION:
        raise ValueError(
            f"--op {op} means nothing to tcp: leave it out, and see --send and --expect"
        )
    return 0.0


def _scripts(config: RunConfig, _: Credentials | None, __: int) -> list[Script]:
    sent, expected = parse_bytes(config.send), parse_bytes(config.expect)
    request = (
        Request(sent, expected, EXPECTED.name, partial(_expected, expected))
        if expected
        else Request(sent, None, CONNECTED.name, None)
    )
    said = [request]
    # A server that closes first may say what it likes before.
    farewell = Request(b"", None, "", _anything)
    return [Script(first=said, later=said, last=said, farewell=farewell)] * len(config.targets)


PROTOCOL = Protocol(
    name="tcp",
    gets=_gets,
    scripts=_scripts,
    closes=close_modes("the server's FIN first, which is waited for"),
)
