"""`loadgen run` toward Redis, nginx and TLS: what each failure is called, and whose fault it is."""

from __future__ import annotations

import signal
import socket
import threading
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from loadgen.summary import Summary
from tests.loadgen.cli.command import PATIENCE, loadgen, start, summary_in
from tests.loadgen.hostile import Hostile
from tests.loadgen.memcached import Memcached
from tests.loadgen.programs import Nginx, Redis

_RUN = ("--rate", "200", "--duration", "500ms", "--max-lateness", "9s", "--out", "out")


def _run(directory: Path, *words: str, code: int = 99) -> Summary:
    done = loadgen("run", *words, *_RUN, cwd=directory)
    assert done.returncode == code, done.stderr
    result = summary_in(directory / "out")
    assert result.started == 100
    return result


def _causes(summary: Summary) -> list[tuple[str, str, int]]:
    return [(cause.cause, cause.fault, cause.connections) for cause in summary.causes]


def test_a_wrong_password(tmp_path: Path) -> None:
    with Redis("--requirepass", "secret") as server:
        result = _run(tmp_path, f"redis://:wrong@{server.place}")
        assert _causes(result) == [("not_authenticated", "server", 100)]
        assert result.errors == {"WRONGPASS": 100}
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or b"wrong@" not in path.read_bytes()


def test_the_right_password_is_in_no_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cr3t-word\n")
    with Redis("--requirepass", "s3cr3t-word") as server:
        words = (f"redis://{server.place}", "--password-file", "password", "--op", "mix:50/50")
        result = _run(tmp_path, *words, code=0)
        assert result.ok == 100
        assert result.kernel["server"]["redis_up"].last == 1
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or b"s3cr3t-word" not in path.read_bytes()


def test_redis_at_its_limit(tmp_path: Path) -> None:
    """The sampler has the last place; it tells how many are held."""
    with Redis("--maxclients", "40") as server, ExitStack() as held:
        for _ in range(39):
            held.enter_context(closing(socket.create_connection(server.address)))
        result = _run(tmp_path, f"redis://{server.place}", "--op", "ping")
    cause = result.causes[0]
    assert _causes(result) == [("server_connection_limit", "server", 100)]
    assert any("limit 40 (maxclients)" in item.text for item in cause.evidence)


@pytest.mark.parametrize(
    ("path", "cause", "error"),
    [
        ("/missing", "request_refused", "HTTP 404"),
        ("/private", "not_authenticated", "HTTP 401"),
        ("/busy", "server_error", "HTTP 503"),
    ],
)
def test_a_status(tmp_path: Path, path: str, cause: str, error: str) -> None:
    with Nginx() as server:
        words = (f"http://{server.place}{path}", "--status-path", "/status", "--close", "server")
        result = _run(tmp_path, *words)
    assert _causes(result) == [(cause, "server", 100)]
    assert result.errors == {error: 100}
    assert result.kernel["server"]["nginx_accepts"].delta >= 100


def test_a_certificate_that_has_expired(tmp_path: Path) -> None:
    authority, now = trustme.CA(), datetime.now(UTC)
    expired = authority.issue_cert(
        "cache.example", not_before=now - timedelta(days=9), not_after=now - timedelta(days=1)
    )
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(expired.cert_chain_pems[0].bytes())
    expired.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with Redis(tls=(chain, key)) as server:
        words = (f"rediss://{server.place}", "--tls-ca", "ca.pem", "--tls-name", "cache.example")
        result = _run(tmp_path, *words)
    assert _causes(result) == [("tls_certificate_expired", "server", 100)]
    assert result.generator.tls is not None
    assert result.generator.tls.handshakes == 0
    assert result.generator.tls.cpu_seconds > 0


def test_tls_where_none_is_spoken(tmp_path: Path, memcached: Memcached) -> None:
    def treat(server: Hostile, sock: socket.socket) -> None:
        sock.sendall(b"220 mail.example\r\n")
        server.wait(sock)

    with Hostile(treat) as server:
        result = _run(tmp_path, server.target, "--tls", "--tls-insecure")
    assert _causes(result) == [("not_tls", "server", 100)]


def test_a_good_run_shows_what_tls_costs(tmp_path: Path) -> None:
    authority = trustme.CA()
    good = authority.issue_cert("cache.example")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(good.cert_chain_pems[0].bytes())
    good.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with Nginx(tls=(chain, key)) as server:
        words = ["run", f"https://{server.place}/", "--tls-ca", "ca.pem", "--tls-resume"]
        words += ["--tls-name", "cache.example", "--threshold", "latency_tls: max < 30s", *_RUN]
        done = loadgen(*words, "--json", "-", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = summary_in(tmp_path / "out")
    assert result.ok == result.latency["tls"].count == 100
    tls = result.generator.tls
    assert tls is not None
    assert tls.handshakes == 100
    assert 0 < tls.resumed < 100
    assert "for its TLS handshake" in done.stderr


def test_ctrl_c_ends_it_while_a_server_drips_its_answers(tmp_path: Path) -> None:
    """Before the first arrival: keys are being stored, and the server takes its time."""
    asked = threading.Event()

    def drip(server: Hostile, sock: socket.socket) -> None:
        sock.recv(100)
        asked.set()
        while not server.ended.wait(0.2):
            sock.sendall(b"S")

    with Hostile(drip) as server:
        process = start("run", server.target, "--out", "out", cwd=tmp_path)
        assert asked.wait(PATIENCE)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, said
    assert "Traceback" not in said
