"""The table of protocols: what the rest of the program takes for granted of each."""

from __future__ import annotations

from typing import get_args

import pytest

from loadgen.config import CloseMode
from loadgen.protocols import PROTOCOLS, meaning_of
from loadgen.protocols.seam import Protocol
from loadgen.target import SCHEMES, Credentials
from tests.loadgen.builders import run_config
from tests.loadgen.protocols.pieces import read

OPERATIONS = {
    "memcached": ("get", "set", "mix:1/1", "mg", "ms"),
    "redis": ("get", "set", "mix:1/1", "ping"),
    "http": ("get", "head"),
    "tcp": ("connect",),
}


def test_every_scheme_has_its_protocol_and_every_protocol_a_scheme() -> None:
    assert {scheme.protocol for scheme in SCHEMES.values()} == set(PROTOCOLS) == set(OPERATIONS)
    assert all(name == protocol.name for name, protocol in PROTOCOLS.items())


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
@pytest.mark.parametrize("credentials", [None, Credentials("ann", "secret")])
def test_every_request_is_ready_before_the_run(
    protocol: Protocol, credentials: Credentials | None
) -> None:
    """There is something to say to each target, and usual replies are what the parsers say too."""
    assert set(protocol.closes) == set(get_args(CloseMode))
    for op in OPERATIONS[protocol.name]:
        config = run_config(
            protocol=protocol.name,
            op=op,
            gets=protocol.gets(op),
            key_space=5,
            addresses=[("127.0.0.1", 1), ("127.0.0.1", 2)],
            targets=[f"{protocol.name}://127.0.0.1:1", f"{protocol.name}://127.0.0.1:2"],
        )
        scripts = protocol.scripts(config, credentials, 1)
        assert len(scripts) == 2
        for script in scripts:
            for request in (*script.first[:20], *script.later[:20], *script.last[:20]):
                assert request.usual_reply != b""
                if request.usual_reply is not None:
                    reply = read(request, request.usual_reply)
                    assert reply is not None
                    assert reply.name == request.usual
        if protocol.seed is not None and config.gets:
            seeded = list(protocol.seed(config, credentials))
            assert len(seeded) == 5 + (credentials is not None)
            assert all(request.reply is not None for request in seeded)


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_the_metrics_of_a_server_carry_its_name(protocol: Protocol) -> None:
    if protocol.statistics is None:
        return
    config = run_config(protocol=protocol.name, targets=["http://h"], status_path="/status")
    statistics = protocol.statistics(config, None)
    assert statistics is not None
    names = {metric.name for metric in statistics.metrics}
    assert {f"{statistics.program}_up", f"{statistics.program}_targets"} <= names
    assert all(name.startswith(f"{statistics.program}_") for name in names)


def test_what_a_close_mode_comes_to_depends_on_tls_and_may_be_unknown() -> None:
    assert meaning_of("server", "redis", tls=True) == PROTOCOLS["redis"].closes["server"]
    assert "unless" not in meaning_of("client", "redis", tls=False)
    assert "unless the server answers with a close_notify" in meaning_of(
        "client", "redis", tls=True
    )
    assert "not known" in meaning_of("client", "gopher", tls=False)
