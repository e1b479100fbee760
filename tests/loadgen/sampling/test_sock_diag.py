"""The filter program, the answers, and both against the kernel."""

from __future__ import annotations

import ipaddress
import socket
import struct
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loadgen.sampling import sock_diag
from loadgen.sampling.namespace import run_inside
from loadgen.sampling.sock_diag import DiagError, DiagSocket, Listener, Pool
from tests.loadgen.sampling.network import CLIENT, SECOND_CLIENT, SERVER, Pair

Endpoint = tuple[str, int]


def passes(program: bytes, local_port: int, remote: Endpoint) -> bool:
    """Run a filter on one socket as the kernel does (inet_diag_bc_run in net/ipv4/inet_diag.c)."""
    left, at = len(program), 0
    while left > 0:
        code, yes, no = struct.unpack_from("=BBH", program, at)
        if code in {2, 3}:
            bound = struct.unpack_from("=H", program, at + 6)[0]
            holds = local_port >= bound if code == 2 else local_port <= bound
        elif code == 8:
            _, prefix, port = struct.unpack_from("=BBxxi", program, at + 4)
            address = ipaddress.ip_address(program[at + 12 : at + 12 + prefix // 8])
            holds = remote == (str(address), port)
        else:
            assert code == 1
            holds = False
        jump = yes if holds else no
        left -= jump
        at += jump
    return left == 0


def audit(program: bytes) -> None:
    """Check a filter as the kernel does before it takes it (inet_diag_bc_audit)."""
    starts, at = [], 0
    while at < len(program):
        starts.append(at)
        at += program[at + 1]
    assert at == len(program), "the yes-jumps must lead from step to step to the end"
    for start in starts:
        _, yes, no = struct.unpack_from("=BBH", program, start)
        left = len(program) - start
        assert 4 <= yes <= left + 4
        assert 4 <= no <= left + 4
        assert yes % 4 == no % 4 == 0
        if no < left:
            assert start + no in starts, "a no-jump must hit the start of a step"


ADDRESSES = st.sampled_from(["198.18.0.1", "198.18.0.2", "2001:db8::1", "::1"])
ENDPOINTS = st.tuples(ADDRESSES, st.sampled_from([80, 11211, 11212]))


@given(
    bounds=st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(sorted),
    targets=st.lists(ENDPOINTS, unique=True, max_size=6),
    port=st.integers(1, 65535),
    remote=ENDPOINTS,
)
def test_the_filter_passes_what_it_should(
    bounds: list[int], targets: list[Endpoint], port: int, remote: Endpoint
) -> None:
    low, high = bounds
    program = sock_diag.program(
        sock_diag.port_bounds(low, high), [sock_diag.destination(*target) for target in targets]
    )
    audit(program)
    expected = low <= port <= high and (not targets or remote in targets)
    assert passes(program, port, remote) == expected


def test_a_name_is_no_address() -> None:
    with pytest.raises(ValueError, match="memcached-1"):
        sock_diag.destination("memcached-1", 11211)


def record(
    remote_port: int, source: str, destination: str, *, sequence: int = 1, attributes: int = 8
) -> bytes:
    """Return one answer, as the kernel writes it."""

    def packed(address: str) -> bytes:
        return ipaddress.ip_address(address).packed.ljust(16, b"\0")

    body = struct.pack("!BBBBHH", 2, 6, 0, 0, 40000, remote_port)
    body += packed(source) + packed(destination) + bytes(12) + struct.pack("=5I", 0, 3, 64, 0, 0)
    body += bytes(attributes)
    return struct.pack("=IHHII", 16 + len(body), 20, 2, sequence, 0) + body


def done(sequence: int = 1, error: int = 0) -> bytes:
    return struct.pack("=IHHIIi", 20, 3, 2, sequence, 0, -error)


RECORDS = st.lists(
    st.builds(
        record,
        st.sampled_from([80, 11211]),
        st.sampled_from(["198.18.0.1", "::ffff:198.18.0.1", "2001:db8::1"]),
        st.sampled_from(["198.18.0.2", "2001:db8::2"]),
        sequence=st.sampled_from([1, 1, 1, 9]),
        attributes=st.sampled_from([0, 8, 8, 20]),
    ),
    max_size=30,
)


@given(records=RECORDS, cuts=st.lists(st.integers(0, 30)))
@example(  # alike but for the sequence number
    records=[
        record(80, "198.18.0.1", "198.18.0.2", sequence=number, attributes=0) for number in (1, 9)
    ],
    cuts=[],
)
def test_records_are_counted_whatever_their_lengths_and_pieces(
    records: list[bytes], cuts: list[int]
) -> None:
    """Answers to an earlier request (sequence 9) are passed over."""
    expected: dict[Pool, int] = {}
    for one in records:
        if struct.unpack_from("=I", one, 8)[0] == 1:
            port = int.from_bytes(one[22:24], "big")
            source = "2001:db8::1" if one[24:26] == b"\x20\x01" else "198.18.0.1"
            target = "2001:db8::2" if one[40:42] == b"\x20\x01" else "198.18.0.2"
            pool = Pool(source, target, port)
            expected[pool] = expected.get(pool, 0) + 1
    counts: dict[bytes, int] = {}
    for first, last in pairwise([0, *sorted(min(cut, len(records)) for cut in cuts), len(records)]):
        piece = memoryview(b"".join(records[first:last]))
        assert not sock_diag.count_pools(piece, 1, counts)
    assert sock_diag.count_pools(memoryview(done()), 1, counts)
    assert sock_diag.pools(counts) == expected


@given(records=RECORDS, data=st.data())
def test_a_damaged_answer_raises_only_what_it_may(
    records: list[bytes], data: st.DataObject
) -> None:
    """The calls are the check: any other exception fails the test."""
    text = b"".join(records) + done()
    first = data.draw(st.integers(0, len(text)))
    last = data.draw(st.integers(first, len(text)))
    damaged = memoryview(text[:first] + data.draw(st.binary(max_size=20)) + text[last:])
    with suppress(DiagError, OSError):
        sock_diag.count_pools(damaged, 1, {})
    with suppress(DiagError, OSError):
        sock_diag.find_listeners(damaged, 1, [])


def test_the_kernels_refusal_is_an_os_error() -> None:
    with pytest.raises(FileNotFoundError):
        sock_diag.count_pools(memoryview(done(error=2)), 1, {})


def test_listeners_are_read_with_their_queues() -> None:
    found: list[Listener] = []
    assert sock_diag.find_listeners(memoryview(record(0, "::", "::") + done()), 1, found)
    assert found == [Listener("0.0.0.0", 40000, 3, 64)]


@pytest.mark.kernel
def test_every_pool_is_counted_apart(pair: Pair) -> None:
    """By source address, destination and port; established and TIME_WAIT alike."""
    diag = run_inside(pair.client, DiagSocket)
    with pair.listen(11211) as first, pair.listen(11212) as second:
        pair.churn(first, 5)
        pair.churn(first, 3, source=SECOND_CLIENT)
        pair.churn(second, 2)
        with pair.connect(11211):
            everything = {
                Pool(CLIENT, SERVER, 11211): 6,
                Pool(SECOND_CLIENT, SERVER, 11211): 3,
                Pool(CLIENT, SERVER, 11212): 2,
            }
            bounds = (32768, 60999)
            assert diag.count_pools(bounds, []) == everything
            assert diag.count_pools(bounds, [(SERVER, 11211), (SERVER, 11212)]) == everything
            assert diag.count_pools(bounds, [(SERVER, 11212)]) == {Pool(CLIENT, SERVER, 11212): 2}
            assert diag.count_pools(bounds, [(CLIENT, 11211)]) == {}
            assert diag.count_pools((1024, 32767), []) == {}
    diag.close()


@pytest.mark.kernel
def test_ipv4_in_an_ipv6_socket_takes_from_the_same_pool(pair: Pair) -> None:
    diag = run_inside(pair.client, DiagSocket)
    with pair.listen(), pair.connect(), pair.connect(mapped=True):
        found = diag.count_pools((32768, 60999), [(SERVER, 11211)])
    assert found == {Pool(CLIENT, SERVER, 11211): 2}
    diag.close()


@pytest.mark.kernel
def test_many_targets_make_a_filter_that_the_kernel_takes(pair: Pair) -> None:
    """The jumps over 200 conditions are longer than one byte can say."""
    diag = run_inside(pair.client, DiagSocket)
    targets = [("2001:db8::1", port) for port in range(1, 200)] + [(SERVER, 11211)]
    with pair.listen() as listener:
        pair.churn(listener, 4)
    assert diag.count_pools((1, 65535), targets) == {Pool(CLIENT, SERVER, 11211): 4}
    diag.close()


@pytest.mark.kernel
def test_thousands_of_sockets_arrive_in_many_pieces(pair: Pair) -> None:
    """3,000 TIME_WAIT sockets are ten pieces of an answer; none is lost between two."""
    diag = run_inside(pair.client, DiagSocket)
    pair.set_client("net/ipv4/ip_local_port_range", "20000 29999")
    with pair.listen() as listener:
        pair.churn(listener, 3000)
    for _ in range(3):
        found = diag.count_pools((20000, 29999), [(SERVER, 11211)])
        assert found == {Pool(CLIENT, SERVER, 11211): 3000}
    diag.close()


@pytest.mark.kernel
def test_ipv6_pools(pair: Pair) -> None:
    def connect() -> tuple[socket.socket, socket.socket]:
        listener = socket.create_server(("::1", 11211), family=socket.AF_INET6)
        return listener, socket.create_connection(("::1", 11211))

    diag = run_inside(pair.client, DiagSocket)
    listener, near = run_inside(pair.client, connect)
    with listener, near:
        found = diag.count_pools((32768, 60999), [("::1", 11211)])
    assert found == {Pool("::1", "::1", 11211): 1}
    diag.close()
