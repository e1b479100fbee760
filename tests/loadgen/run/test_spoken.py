"""What a server speaks, from its first bytes; when it is asked."""

from __future__ import annotations

import pytest

from loadgen.accounting.messages import Totals
from loadgen.diagnosis.spoken import BINARY, PASSWORD, TLS
from loadgen.run.spoken import doubtful, recognised
from tests.loadgen.builders import run_config


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"CLIENT_ERROR unauthenticated\r\n", PASSWORD),
        (b"\x15\x03\x03\x00\x02\x02\x46", TLS),
        (b"\x81\x0a\x00\x00", BINARY),
        (b"HTTP/1.1 400 Bad Request\r\n", "HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
        (b"-ERR unknown command\r\n", "Redis"),
        (b"VERSION 1.6.18\r\n", ""),
        (b"hello\r\n", ""),
        (b"", ""),
    ],
)
def test_first_bytes_are_recognised(data: bytes, name: str) -> None:
    assert recognised(data) == name


@pytest.mark.parametrize(
    ("totals", "asked"),
    [
        (Totals(ok=5), False),
        (Totals(outcomes={"connect_timeout": 5}), False),
        (Totals(outcomes={"reply_timeout": 5}), True),
        (Totals(ok=1, outcomes={"reply_timeout": 5}), False),
        (Totals(ok=1, outcomes={"malformed_reply": 5}), True),
    ],
)
def test_only_doubtful_outcomes_make_one_ask(totals: Totals, asked: bool) -> None:
    assert doubtful(run_config(), totals) is asked
