"""A namespace read from outside, against the real kernel."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

from loadgen.metrics import CATALOGUE
from loadgen.sampling import NamespaceReader, PortReader, sysctls_in_force
from loadgen.sampling.files import KeptFile
from loadgen.sampling.namespace import run_inside
from loadgen.sampling.snapshots import ListenQueue
from tests.loadgen.sampling.network import CLIENT, SERVER, Pair, run

pytestmark = pytest.mark.kernel
TARGETS = [(SERVER, 11211)]


@contextmanager
def both(pair: Pair) -> Iterator[tuple[NamespaceReader, NamespaceReader]]:
    """Return readers of the client's and of the server's namespace."""
    with (
        closing(NamespaceReader(pair.client, targets=TARGETS, ports=True)) as client,
        closing(NamespaceReader(pair.server, targets=TARGETS)) as server,
    ):
        yield client, server


def test_a_time_wait_socket_shows_where_it_is(pair: Pair) -> None:
    """The side that closes first has it, and its port counts as in use."""
    with both(pair) as (client, server), pair.listen() as listener:
        before = client.read(force=True)
        assert (before["sockstat_TCP_tw"], before["ephemeral_ports_in_use"]) == (0, 0)
        pair.churn(listener, 3)
        after = client.read(force=True)
        assert after["sockstat_TCP_tw"] == 3
        assert after["ephemeral_ports_in_use"] == 3
        assert after["netstat_TcpExt_TW"] - before["netstat_TcpExt_TW"] == 3
        assert after["netstat_Tcp_ActiveOpens"] - before["netstat_Tcp_ActiveOpens"] == 3
        assert after["ephemeral_ports_limit"] == 28232
        far = server.read(force=True)
        assert far["sockstat_TCP_tw"] == 0
        assert far["netstat_Tcp_PassiveOpens"] == 3
        assert "ephemeral_ports_in_use" not in far


def test_every_reading_is_in_the_catalogue(pair: Pair) -> None:
    with both(pair) as (client, server), pair.listen():
        found = {**client.read(force=True), **server.read(force=True)}
        assert set(found) <= set(CATALOGUE)


def test_what_cannot_be_read_is_absent_with_a_reason(pair: Pair) -> None:
    """tcp_max_orphans and tcp_mem are the host's alone; nothing listens on the client's side."""
    with closing(NamespaceReader(pair.client, targets=TARGETS)) as client:
        values = client.read(force=True)
        assert "sockstat_TCP_orphan_limit" not in values
        assert "tcp_max_orphans" in client.absent["sockstat_TCP_orphan_limit"]
        assert "tcp_mem" in client.absent["sockstat_TCP_mem_limit"]
        assert "listen_queue" not in values
        assert "no socket listens" in client.absent["listen_queue"]
        assert not set(values) & set(client.absent)


def test_a_field_this_kernel_lacks_is_absent_with_its_version(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a kernel before 6.16, whose netstat has no PAWSTimewait."""
    real = KeptFile.read

    def older(file: KeptFile) -> bytes | None:
        text = real(file)
        return text.replace(b" PAWSTimewait ", b" SomethingElse ") if text else text

    monkeypatch.setattr(KeptFile, "read", older)
    with closing(NamespaceReader(pair.client)) as client:
        values = client.read(force=True)
        assert "netstat_TcpExt_PAWSTimewait" not in values
        assert "6.16" in client.absent["netstat_TcpExt_PAWSTimewait"]
        assert "netstat_TcpExt_TW" in values


def test_conntrack_counts_only_with_a_rule(pair: Pair) -> None:
    """Tracking begins with the first rule that needs it, in that namespace alone."""
    with both(pair) as (client, server), pair.listen() as listener:
        pair.churn(listener, 2)
        assert client.read(force=True)["nf_conntrack_entries"] == 0
        for rule in (
            "add table ip t",
            "add chain ip t in { type filter hook input priority 0 ; }",
            "add rule ip t in ct state established accept",
        ):
            run_inside(pair.client, partial(run, "nft", rule))
        pair.churn(listener, 4)
        values = client.read(force=True)
        assert values["nf_conntrack_entries"] == 4
        assert values["nf_conntrack_entries_limit"] >= 1024
        assert values["nf_conntrack_stat_drop"] == 0
        assert server.read(force=True)["nf_conntrack_entries"] == 0


def test_the_accept_queue_and_its_limit(pair: Pair) -> None:
    with both(pair) as (_, server), pair.listen(backlog=5):
        waiting = [pair.connect() for _ in range(3)]
        values = server.read(force=True)
        assert (values["listen_queue"], values["listen_queue_limit"]) == (3, 5)
        for connection in waiting:
            connection.close()


def test_the_limit_of_ports_follows_the_settings(pair: Pair) -> None:
    with both(pair) as (client, _):
        pair.set_client("net/ipv4/ip_local_port_range", "20000 20099")
        pair.set_client("net/ipv4/ip_local_reserved_ports", "20000-20009,20050")
        assert client.read(force=True)["ephemeral_ports_limit"] == 89


def test_a_port_outside_the_range_is_not_counted(pair: Pair) -> None:
    """One that was bound to on purpose takes nothing from those that connect() chooses from."""
    with (
        both(pair) as (client, _),
        pair.listen(),
        pair.connect(source=CLIENT, source_port=9999),
        pair.connect(),
    ):
        assert client.read(force=True)["ephemeral_ports_in_use"] == 1


def test_between_readings_counts_are_absent_and_limits_stay(pair: Pair) -> None:
    """What is read less often is never an old count under a new time."""
    reader = NamespaceReader(pair.client, targets=TARGETS, ports=True, share=1e-6)
    with closing(reader) as client:
        now = time.monotonic() + 1000
        assert "ephemeral_ports_in_use" in client.read(now=now, force=True)
        soon = client.read(now=now + 0.1)
        assert "sockstat_TCP_tw" in soon
        assert "nf_conntrack_stat_drop" not in soon
        assert "nf_conntrack_stat_drop" not in client.absent
        assert "ephemeral_ports_in_use" not in soon
        assert soon["ephemeral_ports_limit"] == 28232
        assert soon["sockstat_TCP_tw_limit"] > 0
        assert "nf_conntrack_stat_drop" in client.read(now=now + 0.6)


def test_counting_ports_keeps_to_its_share(pair: Pair) -> None:
    with closing(PortReader(pair.client, targets=TARGETS, share=0.01)) as ports:
        now = time.monotonic()
        assert ports.read(now=now) is not None
        cost = ports.pace.cost
        assert cost > 0
        assert ports.read(now=now + cost / 0.01 * 0.9) is None
        assert ports.read(now=now + cost / 0.01 * 0.9, force=True) is not None
        assert ports.read(now=now + 3600) is not None


def test_a_file_that_appears_later_is_opened_then(pair: Pair) -> None:
    """As when the conntrack module is loaded while a run is under way."""
    with both(pair) as (client, _):
        count = next(s for s in client._sources if s.file.path.endswith("nf_conntrack_count"))
        count.file.close()
        now = time.monotonic()
        assert "nf_conntrack_entries" not in client.read(now=now)
        assert "nf_conntrack_entries" in client.absent
        assert client.read(now=now + 30)["nf_conntrack_entries"] == 0
        assert "nf_conntrack_entries" not in client.absent


def test_a_snapshot_holds_the_full_state(pair: Pair) -> None:
    with both(pair) as (client, server), pair.listen(backlog=7) as listener:
        pair.churn(listener, 2)
        near = client.snapshot()
        assert near.pools == {f"{CLIENT} > {SERVER}:11211": 2}
        assert near.values["ephemeral_ports_in_use"] == 2
        assert near.counters["TcpExt_TW"] == 2
        assert 0 not in near.counters.values()
        assert near.sysctls["net.ipv4.ip_local_port_range"] == "32768 60999"
        far = server.snapshot()
        assert far.listeners == [ListenQueue(SERVER, 11211, 0, 7)]


def test_sysctls_are_those_of_the_namespace(pair: Pair) -> None:
    pair.set_client("net/ipv4/ip_local_port_range", "20000\t20099")
    near, far = sysctls_in_force(pair.client), sysctls_in_force(pair.server)
    assert near["net.ipv4.ip_local_port_range"] == "20000 20099"
    assert far["net.ipv4.ip_local_port_range"] == "32768 60999"
    assert "net.ipv4.tcp_max_orphans" not in near, "the host's alone"
    assert "net.ipv4.tcp_tw_reuse" in near
    assert "fs.nr_open" in near


def test_a_target_must_be_an_address(pair: Pair) -> None:
    """A name is refused before the run, not at the first count; nothing stays open."""
    with pytest.raises(ValueError, match="memcached-1"):
        NamespaceReader(pair.client, targets=[("memcached-1", 11211)], ports=True)


def test_closing_closes_everything(pair: Pair) -> None:
    def open_files() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    before = open_files()
    reader = NamespaceReader(pair.client, targets=TARGETS, ports=True)
    assert open_files() > before
    reader.close()
    assert open_files() == before
