"""What a Prometheus server gets: valid OpenMetrics, node_exporter's names, nothing made up."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing, suppress

import pytest
from prometheus_client.core import Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from loadgen.metrics import CATALOGUE
from loadgen.sampling.sock_diag import Pool
from loadgen.watch.headroom import History, Reading
from loadgen.watch.http import CONNECTIONS
from loadgen.watch.openmetrics import WHO, Exporter, exported_name, families, who_families
from tests.loadgen.watch.test_view import scene

VALUES = {name: 7 for name in CATALOGUE if not name.endswith("*")}


def scrape(exporter: Exporter) -> dict[str, Metric]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{exporter.port}/metrics", headers={"Accept": CONTENT_TYPE_LATEST}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        text = answer.read().decode()
    parse: Callable[[str], Iterable[Metric]] = text_string_to_metric_families
    return {family.name: family for family in parse(text)}


def test_what_is_served_parses_and_has_every_metric() -> None:
    found = History()
    found.add(Reading(0.0, VALUES, {Pool("10.0.0.1", "10.0.0.5", 11211): 41}))
    with closing(Exporter("127.0.0.1", 0)) as exporter:
        assert scrape(exporter) == {}
        exporter.update(VALUES, found.gauges())
        served = scrape(exporter)
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in served.values()
        for sample in family.samples
    }
    labels = (("destination", "10.0.0.5"), ("port", "11211"), ("source", "10.0.0.1"))
    assert samples["churnlab_ephemeral_ports_in_use", labels] == 41
    assert samples["churnlab_ephemeral_ports_in_use_limit", labels] == 7
    assert samples["node_sockstat_TCP_tw", ()] == 7
    # Each metric of the catalogue but the pool's, which has labels.
    without = {name for name, tags in samples if not tags}
    expected = {exported_name(name) for name in VALUES} - {"churnlab_ephemeral_ports_in_use"}
    assert {name.removesuffix("_total") for name in without} == {
        name.removesuffix("_total") for name in expected
    }


@pytest.mark.parametrize(
    ("name", "exported"),
    [
        ("sockstat_TCP_tw", "node_sockstat_TCP_tw"),
        ("sockstat_TCP_tw_limit", "churnlab_sockstat_TCP_tw_limit"),
        ("netstat_TcpExt_ListenDrops", "node_netstat_TcpExt_ListenDrops"),
        ("nf_conntrack_entries", "node_nf_conntrack_entries"),
        ("nf_conntrack_entries_limit", "node_nf_conntrack_entries_limit"),
        ("nf_conntrack_buckets", "churnlab_nf_conntrack_buckets"),
        ("filefd_allocated", "node_filefd_allocated"),
        ("memcached_curr_connections", "churnlab_memcached_curr_connections"),
    ],
)
def test_names_are_node_exporter_s_where_it_has_the_metric(name: str, exported: str) -> None:
    assert exported_name(name) == exported


def test_what_could_not_be_read_is_absent_and_not_zero() -> None:
    assert families({}, []) == []
    assert [family.name for family in families({"sockstat_TCP_tw": 0}, [])] == [
        "node_sockstat_TCP_tw"
    ]


def test_a_port_that_is_taken_is_an_error() -> None:
    with closing(Exporter("127.0.0.1", 0)) as first, pytest.raises(OSError, match="in use"):
        Exporter("127.0.0.1", first.port)


def test_who_is_exported_and_what_will_not_happen_is_absent() -> None:
    """200/s and 400/s toward two servers: the second becomes slow, the first never does."""
    _, found = scene()
    served = {family.name: family for family in who_families(found)}
    assert {name.removeprefix("churnlab_") for name in served} <= WHO.keys()
    slow = served["churnlab_destination_slow_in_seconds"].samples
    assert [sample.labels["destination"] for sample in slow] == ["10.0.0.6"]
    rates = served["churnlab_owner_connections_per_second"].samples
    assert {sample.labels["process"] for sample in rates} == {"web", "cron"}
    assert who_families(None) == []


def ask(exporter: Exporter, *lines: str) -> bytes:
    with socket.create_connection(("127.0.0.1", exporter.port), timeout=10) as sock:
        sock.sendall("\r\n".join([*lines, "", ""]).encode())
        return b"".join(iter(lambda: sock.recv(65536), b""))


@pytest.mark.parametrize(
    "version",
    [
        "abc",
        "",
        "0.0.1",
        "1.0.0",
        "99999999999999999999",
        "1.0.0;q=;;,,",
        "\N{LATIN SMALL LETTER E WITH ACUTE}",
    ],
)
def test_whatever_version_is_asked_for(version: str) -> None:
    with closing(Exporter("127.0.0.1", 0)) as exporter:
        exporter.update(VALUES, [])
        said = ask(
            exporter,
            "GET /metrics HTTP/1.1",
            f"Accept: application/openmetrics-text; version={version}",
        )
        head, _, body = said.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert body.endswith(b"# EOF\n")


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET / HTTP/1.1", 200), ("HEAD /metrics HTTP/1.0", 200), ("GET /metrics?a=b HTTP/1.1", 200),
        ("GET /etc/passwd HTTP/1.1", 404), ("POST /metrics HTTP/1.1", 400), ("nonsense", 400), ("", 400),
    ],
)  # fmt: skip
def test_requests_and_their_answers(request_line: str, status: int) -> None:
    with closing(Exporter("127.0.0.1", 0)) as exporter:
        assert ask(exporter, request_line).startswith(f"HTTP/1.1 {status} ".encode())


def test_endless_and_idle_clients_keep_nobody_out() -> None:
    """Four times as many as there is room for, half of them silent, half with headers without end."""
    with closing(Exporter("127.0.0.1", 0)) as exporter, ExitStack() as stack:
        exporter.update({"sockstat_TCP_tw": 7}, [])
        for number in range(4 * CONNECTIONS):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", exporter.port)))
            if number % 2:
                with suppress(OSError):
                    sock.sendall(b"GET /metrics HTTP/1.1\r\n" + b"x: y\r\n" * 5000)
        assert scrape(exporter)["node_sockstat_TCP_tw"].samples[0].value == 7


def test_a_slow_client_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadgen.watch.http.PATIENCE", 0.2)
    with (
        closing(Exporter("127.0.0.1", 0)) as exporter,
        socket.create_connection(("127.0.0.1", exporter.port), timeout=10) as sock,
    ):
        sock.sendall(b"GET /met")
        assert sock.recv(1) == b""


def test_a_name_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="no name of a host"):
        Exporter("a..b", 0)
