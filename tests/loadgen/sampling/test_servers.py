"""The reader of memcached's statistics against real servers, and against ones that misbehave."""

from __future__ import annotations

import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial

import pytest

from loadgen.metrics import MEMCACHED
from loadgen.protocols import memcached as spoken
from loadgen.sampling import NamespaceReader, ServerReader
from loadgen.sampling.namespace import run_inside
from loadgen.sampling.servers import total
from tests.loadgen.memcached import Memcached, free_port
from tests.loadgen.sampling.network import Pair

pytestmark = pytest.mark.kernel
_reader = partial(ServerReader, spoken.statistics())


def test_all_metrics_of_a_real_server(memcached: Memcached) -> None:
    with closing(_reader([memcached.address])) as reader:
        values = reader.read()
        assert set(values) == {metric.name for metric in MEMCACHED}
        assert not reader.absent
        assert values["memcached_max_connections"] == 4096
        assert values["memcached_threads"] == 2
        assert values["memcached_up"] == values["memcached_targets"] == 1


def test_the_connection_is_kept() -> None:
    """Sampling must not be churn: ten readings, one connection."""
    with Memcached() as alone, closing(_reader([alone.address])) as reader:
        before = reader.read()["memcached_total_connections"]
        for _ in range(10):
            after = reader.read(force=True)["memcached_total_connections"]
        assert after == before


def test_targets_are_added_up(memcached: Memcached) -> None:
    with Memcached("-c", "100") as other:
        targets = [memcached.address, other.address]
        with closing(_reader(targets)) as reader:
            assert reader.read()["memcached_max_connections"] == 4196
            assert reader.last[other.address]["memcached_max_connections"] == 100


def test_a_stopped_server_holds_nobody_up(memcached: Memcached) -> None:
    """SIGSTOP: the kernel still accepts connections, but no answer comes."""
    with Memcached() as stopped:
        targets = [memcached.address, stopped.address]
        with closing(_reader(targets, timeout=0.1)) as reader:
            now = time.monotonic()
            assert reader.read(now=now, force=True)["memcached_up"] == 2
            stopped._process.send_signal(signal.SIGSTOP)
            try:
                began = time.monotonic()
                values = reader.read(now=now + 1, force=True)
                assert time.monotonic() - began < 1
                assert values == {"memcached_up": 1, "memcached_targets": 2}
                assert str(stopped.address[1]) in reader.absent["memcached_cmd_get"]
                # Within the pause it is not even asked: another failure would lengthen the pause.
                pause = reader._servers[1].backoff._due
                assert reader.read(now=now + 1.1, force=True)["memcached_up"] == 1
                assert reader._servers[1].backoff._due == pause
            finally:
                stopped._process.send_signal(signal.SIGCONT)
            values = reader.read(now=now + 60, force=True)
            assert values["memcached_up"] == 2
            assert "memcached_cmd_get" in values
            assert not reader.absent


def test_many_silent_servers_do_not_add_up() -> None:
    """Ten targets that never answer: the first few are waited for, then the reading ends."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        targets = [silent.getsockname()] * 10
        with closing(_reader(targets, timeout=0.1)) as reader:
            began = time.monotonic()
            assert reader.read() == {}
            assert time.monotonic() - began < 0.8
            assert "too long" in reader.absent["memcached_up"]


def test_no_server_at_all() -> None:
    with closing(_reader([("127.0.0.1", free_port())])) as reader:
        assert reader.read() == {"memcached_up": 0, "memcached_targets": 1}
        assert "refused" in reader.absent["memcached_cmd_get"]


@contextmanager
def answering(*pieces: bytes, pause: float = 0.0) -> Iterator[tuple[str, int]]:
    """Return the address of a server that sends `pieces` to all who connect, and then closes."""
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                for piece in pieces:
                    connection.sendall(piece)
                    stop.wait(pause)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            stop.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"ERROR\r\n",
        b"STAT\r\nEND\r\n",
        b"STAT threads\r\nEND\r\n",
        b"STAT threads 4",
        b"SERVER_ERROR out of memory\r\n",
        b"\x00\xff\r\n\r\n",
    ],
)
def test_an_answer_that_is_no_statistics(answer: bytes) -> None:
    """Never raised, always a reason."""
    with answering(answer) as target, closing(_reader([target])) as reader:
        values = reader.read()
        assert "memcached_cmd_get" not in values
        assert "memcached_threads" not in values
        assert reader.absent["memcached_threads"]


def test_a_number_that_is_none_is_absent() -> None:
    answer = b"STAT threads four\r\nSTAT curr_connections 7\r\nEND\r\n"
    with answering(answer) as target, closing(_reader([target])) as reader:
        values = reader.read()
        assert values["memcached_curr_connections"] == 7
        assert "no such statistic" in reader.absent["memcached_threads"]


def test_a_trickle_ends_at_the_deadline() -> None:
    """A server that sends a byte now and then is not waited for longer than a silent one."""
    with (
        answering(b"STAT x ", *[b"1"] * 200, pause=0.02) as target,
        closing(_reader([target], timeout=0.2)) as reader,
    ):
        began = time.monotonic()
        assert reader.read()["memcached_up"] == 0
        assert time.monotonic() - began < 1.5
        assert re.search("in time", reader.absent["memcached_cmd_get"])


def test_asking_takes_no_port_of_the_client(pair: Pair) -> None:
    """The connection is made inside the server's namespace, and made anew there."""
    server = Memcached()
    run_inside(pair.server, server.__enter__)
    with (
        closing(NamespaceReader(pair.server)) as far,
        closing(NamespaceReader(pair.client)) as near,
        closing(_reader([server.address], namespace=pair.server)) as reader,
    ):
        try:
            before = far.read()["netstat_Tcp_ActiveOpens"]
            assert reader.read()["memcached_up"] == 1
            assert far.read()["netstat_Tcp_ActiveOpens"] == before + 1
            reader._servers[0].close()
            assert reader.read(force=True)["memcached_up"] == 1
            assert far.read()["netstat_Tcp_ActiveOpens"] == before + 2
            assert near.read()["netstat_Tcp_ActiveOpens"] == 0
        finally:
            server.__exit__(None, None, None)


def test_adding() -> None:
    """Only what all servers have is added up."""
    first = {"memcached_threads": 4, "memcached_cmd_get": 10}
    second = {"memcached_threads": 1, "memcached_cmd_set": 3}
    assert total([first, second]) == {"memcached_threads": 5}
    assert total([]) == {}
