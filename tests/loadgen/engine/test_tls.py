"""TLS against real servers: the right outcome for each certificate, and every handshake counted."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trustme

from loadgen.config import CloseMode, RunConfig, TlsOptions
from loadgen.outcome import Outcome
from loadgen.protocols import PROTOCOLS
from loadgen.protocols.tls import clients
from loadgen.run.seed import seed
from loadgen.sampling import ServerReader
from tests.loadgen.builders import run_config
from tests.loadgen.engine.driving import drive
from tests.loadgen.hostile import GARBAGE, Hostile, silent
from tests.loadgen.memcached import Memcached
from tests.loadgen.programs import Nginx, Redis

NAME = "cache.example"
Server = Memcached | Redis | Nginx


@dataclass(frozen=True)
class Files:
    """Certificates in files."""

    ca: Path
    other_ca: Path
    good: tuple[Path, Path]
    expired: tuple[Path, Path]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    directory = tmp_path_factory.mktemp("certificates")
    for place in (directory, *directory.parents[:2]):
        place.chmod(0o755)  # memcached reads its own as nobody
    authority, stranger = trustme.CA(), trustme.CA()
    now = datetime.now(UTC)

    def write(name: str, certificate: trustme.LeafCert) -> tuple[Path, Path]:
        chain, key = directory / f"{name}.pem", directory / f"{name}.key"
        chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        certificate.private_key_pem.write_to_path(key)
        key.chmod(0o644)
        return chain, key

    found = Files(
        directory / "ca.pem",
        directory / "other.pem",
        write("good", authority.issue_cert(NAME)),
        write(
            "expired",
            authority.issue_cert(
                NAME, not_before=now - timedelta(days=9), not_after=now - timedelta(days=1)
            ),
        ),
    )
    authority.cert_pem.write_to_path(found.ca)
    stranger.cert_pem.write_to_path(found.other_ca)
    return found


def _memcached(pair: tuple[Path, Path]) -> Memcached:
    return Memcached("-Z", "-o", f"ssl_chain_cert={pair[0]},ssl_key={pair[1]}")


@pytest.fixture(scope="module", params=["memcached", "redis", "http"])
def served(request: pytest.FixtureRequest, files: Files) -> Iterator[tuple[str, Server]]:
    """A server with a good certificate, and the protocol that it speaks."""
    scheme: str = request.param
    server: Server
    if scheme == "memcached":
        server = _memcached(files.good)
    elif scheme == "redis":
        server = Redis(tls=files.good)
    else:
        server = Nginx(tls=files.good)
    with server:
        yield scheme, server


def _config(scheme: str, address: tuple[str, int], tls: TlsOptions, **changes: object) -> RunConfig:
    options = {
        "protocol": scheme,
        "addresses": [address],
        "targets": [f"{scheme}://{address[0]}:{address[1]}"],
        "gets": PROTOCOLS[scheme].gets("connect" if scheme == "tcp" else "get"),
        "rate": 300.0,
        "duration": 0.2,
        "key_space": 20,
        "max_lateness": 20.0,
        "timeout": 20.0,
        "connect_timeout": 20.0,
        "tls": tls,
    }
    return run_config(**{**options, **changes})


@pytest.mark.parametrize("close", ["client", "server", "rst"])
@pytest.mark.parametrize("count", [1, 3])
async def test_each_attempt_is_a_handshake_and_its_requests(
    served: tuple[str, Server], files: Files, close: CloseMode, count: int
) -> None:
    scheme, server = served
    tls = TlsOptions(ca=str(files.ca), name=NAME)
    config = _config(scheme, server.address, tls, close=close, requests_per_connection=count)
    assert seed(config) in {True, None}
    driven = await drive(config)
    totals = driven.totals
    assert totals.ok == totals.tls_handshakes == driven.count("tls") == 60
    assert totals.tls_resumed == 0
    assert totals.tls_cpu > 0
    assert totals.replies == {"2xx" if scheme == "http" else "hit": 60 * count}


def test_as_many_keys_are_stored_as_over_plain_connections(
    served: tuple[str, Server], files: Files
) -> None:
    """More than fit into one record: memcached does not come back for the rest of a batch."""
    scheme, server = served
    tls = TlsOptions(ca=str(files.ca), name=NAME)
    config = _config(scheme, server.address, tls, key_space=2000)
    assert seed(config) is (None if scheme == "http" else True)


async def test_a_close_notify_of_the_server_leaves_no_time_wait(files: Files) -> None:
    """memcached and Redis answer the client's FIN with one, which meets a closed socket: a RST."""
    servers: list[tuple[Server, str, int]] = [
        (_memcached(files.good), "memcached", 0),
        (Redis(tls=files.good), "redis", 0),
        (Nginx(tls=files.good), "http", 60),
    ]
    tls = TlsOptions(ca=str(files.ca), name=NAME)
    for server, scheme, kept in servers:
        with server:
            driven = await drive(_config(scheme, server.address, tls))
            assert driven.totals.ok == 60
            with trio.move_on_after(5):
                while _time_wait_toward(server.address[1]) < kept:
                    await trio.sleep(0.05)
            # One more is the test's own look at the server's start.
            assert _time_wait_toward(server.address[1]) - kept in {0, 1}, scheme


def _time_wait_toward(port: int) -> int:
    """Count the client's TIME_WAIT sockets toward a local port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[3] == "06" and int(row[2].partition(":")[2], 16) == port for row in rows)


async def test_a_session_is_resumed(served: tuple[str, Server], files: Files) -> None:
    scheme, server = served
    tls = TlsOptions(ca=str(files.ca), name=NAME, resume=True)
    totals = (await drive(_config(scheme, server.address, tls, max_in_flight=1))).totals
    assert totals.ok == totals.tls_handshakes == totals.started
    # The first connection has no session yet to resume.
    assert totals.tls_resumed == totals.ok - 1


async def test_any_certificate_will_do(served: tuple[str, Server]) -> None:
    scheme, server = served
    totals = (await drive(_config(scheme, server.address, TlsOptions(verify=False)))).totals
    assert totals.ok == 60


@pytest.mark.parametrize(
    ("ca", "name", "outcome", "error"),
    [
        ("ca", "", Outcome.TLS_WRONG_NAME, "certificate of another name"),
        ("ca", "other.example", Outcome.TLS_WRONG_NAME, "certificate of another name"),
        ("other_ca", NAME, Outcome.TLS_UNKNOWN_CA, "unable to get local issuer certificate"),
        ("", NAME, Outcome.TLS_UNKNOWN_CA, "unable to get local issuer certificate"),
    ],
)
async def test_a_certificate_that_is_not_trusted_has_its_outcome(
    served: tuple[str, Server], files: Files, ca: str, name: str, outcome: Outcome, error: str
) -> None:
    scheme, server = served
    tls = TlsOptions(ca=str(getattr(files, ca)) if ca else "", name=name)
    config = _config(scheme, server.address, tls)
    assert seed(config) in {False, None}
    driven = await drive(config)
    assert driven.totals.outcomes == {outcome: 60}
    assert driven.totals.errors == {error: 60}
    assert (driven.totals.tls_handshakes, driven.count("tls")) == (0, 0)
    assert driven.count("connect") == 60


async def test_an_expired_certificate_has_its_outcome(files: Files) -> None:
    tls = TlsOptions(ca=str(files.ca), name=NAME)
    servers: list[tuple[Server, str]] = [
        (_memcached(files.expired), "memcached"),
        (Redis(tls=files.expired), "redis"),
        (Nginx(tls=files.expired), "http"),
    ]
    for server, scheme in servers:
        with server:
            totals = (await drive(_config(scheme, server.address, tls))).totals
        assert totals.outcomes == {Outcome.TLS_CERTIFICATE_EXPIRED: 60}
        assert totals.errors == {"certificate has expired": 60}


async def test_figures_come_over_tls_too(served: tuple[str, Server], files: Files) -> None:
    scheme, server = served
    tls = TlsOptions(ca=str(files.ca), name=NAME)
    config = _config(scheme, server.address, tls, status_path="/status" if scheme == "http" else "")
    asks = PROTOCOLS[scheme].statistics
    statistics = asks(config, None) if asks is not None else None
    assert statistics is not None
    with closing(
        ServerReader(statistics, config.addresses, timeout=5.0, clients=clients(config))
    ) as reader:
        for _ in range(2):
            assert reader.read(force=True)[f"{statistics.program}_up"] == 1
        assert not reader.absent


async def test_a_server_that_speaks_no_tls() -> None:
    """No attempt is ok, and an answer that is not TLS is told from silence."""
    tls = TlsOptions(verify=False)
    with Nginx() as nginx, Redis() as redis, Hostile(silent) as waits:
        for server in (nginx, redis, waits):
            config = _config("http", server.address, tls, timeout=0.5, rate=100.0)
            totals = (await drive(config)).totals
            assert totals.started == totals.failed == 20, server
            assert set(totals.outcomes) <= {
                Outcome.NOT_TLS,
                Outcome.TRUNCATED_REPLY,
                Outcome.RESET,
                Outcome.TLS_TIMEOUT,
            }, server
            assert seed(config) is None


async def test_an_answer_that_is_not_tls() -> None:
    def treat(server: Hostile, sock: socket.socket) -> None:
        sock.sendall(GARBAGE)
        server.wait(sock)

    with Hostile(treat) as server:
        config = _config("redis", server.address, TlsOptions(verify=False))
        totals = (await drive(config)).totals
        assert seed(config) is False
    assert totals.outcomes == {Outcome.NOT_TLS: 60}
    assert totals.errors == {"WRONG_VERSION_NUMBER": 60}


async def test_a_handshake_that_is_never_answered_has_a_deadline() -> None:
    with Hostile(silent) as server:
        config = _config("redis", server.address, TlsOptions(verify=False), timeout=0.3)
        driven = await drive(config)
    assert driven.totals.outcomes == {Outcome.TLS_TIMEOUT: 60}
    assert driven.totals.tls_cpu > 0


async def test_a_server_at_its_limit_closes_during_the_handshake(files: Files) -> None:
    """Redis writes no error where it has not spoken TLS yet."""
    with Redis("--maxclients", "3", tls=files.good) as full:
        held = [socket.create_connection(full.address) for _ in range(3)]
        try:
            config = _config("redis", full.address, TlsOptions(verify=False))
            totals = (await drive(config)).totals
        finally:
            for one in held:
                one.close()
    assert totals.started == totals.failed == 60
    assert set(totals.outcomes) <= {Outcome.TRUNCATED_REPLY, Outcome.RESET}


async def test_a_handshake_and_nothing_else(files: Files) -> None:
    with Nginx(tls=files.good) as server:
        tls = TlsOptions(ca=str(files.ca), name=NAME)
        config = _config("tcp", server.address, tls, op="connect")
        driven = await drive(config, silent=True)
    assert driven.totals.replies == {"connected": 60}
    assert driven.totals.tls_handshakes == 60


async def test_values_larger_than_any_record(files: Files) -> None:
    with Redis(tls=files.good) as server:
        tls = TlsOptions(ca=str(files.ca), name=NAME)
        config = _config(
            *("redis", server.address, tls),
            op="mix:50/50",
            gets=0.5,
            value_size=300_000,
            rate=100.0,
        )
        assert seed(config) is True
        driven = await drive(config)
    assert driven.totals.ok == 20
