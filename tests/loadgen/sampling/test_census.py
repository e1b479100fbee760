"""Who holds ports, and since when: the kernel's list against sockets that the test knows."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.sampling import census, sock_diag
from loadgen.sampling.census import Held, LiveSocket, Tally, look, take_census
from loadgen.sampling.namespace import run_inside
from loadgen.sampling.owners import Owners
from loadgen.sampling.sock_diag import DiagError, DiagSocket, Pool
from tests.loadgen.sampling.network import CLIENT, SERVER, Pair
from tests.loadgen.sampling.test_sock_diag import audit

RANGE = (32768, 60999)


def record(state: int, left: int, port: int = 80, source: int = 1, extra: bytes = b"") -> bytes:
    """Return one socket as the kernel tells of it."""
    body = struct.pack("=BBBB", 2, state, 0, 0) + struct.pack("!HH", 40_000, port)
    body += bytes([10, 0, 0, source]).ljust(16, b"\0") + bytes([10, 0, 0, 9]).ljust(16, b"\0")
    body += struct.pack("=IQ", 0, 0) + struct.pack("=IIIII", left, 0, 0, 1000, 77) + extra
    return struct.pack("=IHHII", 16 + len(body), 20, 2, 1, 0) + body


def attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data.ljust((len(data) + 3) & ~3, b"\0")


DONE = struct.pack("=IHHIIi", 20, 3, 2, 1, 0, 0)
CGROUP = attribute(8, b"\0") + attribute(21, struct.pack("=Q", 4711))


def tally(*pieces: bytes) -> Tally:
    found = Tally()
    for piece in pieces:
        found.take(memoryview(piece), 1)
    return found


@given(
    st.lists(
        st.tuples(
            st.sampled_from([1, 4, 6]), st.integers(0, 60_000), st.integers(1, 3), st.booleans()
        ),
        max_size=40,
    )
)
def test_every_record_is_counted_once_in_whatever_order(
    rows: list[tuple[int, int, int, bool]],
) -> None:
    """Runs of one kind, broken by others; TIME_WAIT with and without the attribute of new kernels."""
    mark = attribute(15, bytes(4))
    text = b"".join(
        record(state, left, source=source, extra=CGROUP if state == 1 else mark if more else b"")
        for state, left, source, more in rows
    )
    found = tally(text + DONE)
    live = {key: count for key, (count, _) in found.held().items()}
    waits = sum(sum(waits.values()) for _, waits in found.held().values())
    assert waits == sum(state == 6 for state, *_ in rows)
    assert sum(live.values()) == sum(state != 6 for state, *_ in rows)
    sockets = list(found.sockets())
    assert all(item.uid == 1000 and item.inode == 77 for item in sockets)
    assert {item.cgroup for item in sockets if item.state == 1} <= {4711}


@given(st.integers(0, 60_000))
def test_the_time_that_is_left_is_right_to_a_step(left: int) -> None:
    ((_, waits),) = tally(record(6, left) + DONE).held().values()
    ((seconds, count),) = waits.items()
    assert count == 1
    # 4.352 - 4.096 is a hair more than a step.
    assert 0 <= seconds - left / 1000 <= census.STEP + 1e-9


@pytest.mark.parametrize("cut", [3, 20, 60])
def test_a_damaged_piece_is_an_error(cut: int) -> None:
    with pytest.raises(DiagError):
        tally(record(1, 0)[:cut])


@given(st.binary(max_size=40))
def test_damaged_attributes_are_no_cgroup(noise: bytes) -> None:
    piece = record(1, 0, extra=noise)
    try:
        list(tally(piece + DONE).sockets())
    except (DiagError, OSError):
        pass


@given(st.lists(st.integers(1, 65535), max_size=5), st.booleans())
def test_the_filter_leaves_out_ports_that_are_listened_on(ports: list[int], toward: bool) -> None:
    either = [sock_diag.destination("10.0.0.5", 80)] if toward else []
    program = sock_diag.program(
        sock_diag.port_bounds(*RANGE), either, [sock_diag.local_port(port) for port in ports]
    )
    audit(program)


@pytest.mark.kernel
def test_the_kernel_s_sockets_by_destination_age_and_side(pair: Pair) -> None:
    listener = pair.listen()
    held = [pair.connect() for _ in range(3)]
    accepted = [listener.accept()[0] for _ in held]
    pair.churn(listener, 20)
    near, far = (run_inside(place, DiagSocket) for place in (pair.client, pair.server))
    found = take_census(near, RANGE)
    pool = Pool(CLIENT, SERVER, 11211)
    assert (found.pools[pool].live, found.pools[pool].time_wait) == (3, 20)
    assert found.pools[pool].younger(30.0) == 20
    assert found.time_wait == 20
    assert {item.inode for item in found.live} == {os.fstat(c.fileno()).st_ino for c in held}
    assert len(look(near, RANGE)) == 3
    # Seen from the server: three connections from the client, at its listening port.
    served = take_census(far, RANGE)
    assert served.pools == {}
    assert served.accepted[Pool(CLIENT, SERVER, 11211)].live == 3
    for sock in (*held, *accepted, listener):
        sock.close()
    near.close()
    far.close()


@pytest.mark.kernel
def test_a_listener_inside_the_range_is_not_a_destination(pair: Pair) -> None:
    """Its accepted sockets have a local port of the range, which connect() did not choose."""
    listener = pair.listen(40_000)
    held = pair.connect(40_000)
    far = run_inside(pair.server, DiagSocket)
    found = take_census(far, RANGE)
    assert found.pools == {}
    assert [held.live for held in found.accepted.values()] == [1]
    held.close()
    listener.close()
    far.close()


@pytest.mark.kernel
def test_the_owner_of_a_socket_is_the_process_that_holds_it(pair: Pair) -> None:
    listener = pair.listen()
    held = pair.connect()
    near = run_inside(pair.client, DiagSocket)
    live = look(near, RANGE)
    owner = Owners().of(live, time.monotonic())[0]
    name = Path(f"/proc/{os.getpid()}/comm").read_text().strip()
    assert (owner.pid, owner.process) == (os.getpid(), name)
    for sock in (held, listener, near):
        sock.close()


def test_owners_by_cgroup_and_by_inode(tmp_path: Path) -> None:
    """A cgroup with one process names it; of one with two, the socket's inode decides."""
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    for pid, name, inode in ((10, "alone", 0), (20, "one", 501), (21, "two", 502)):
        folder = proc / str(pid)
        (folder / "fd").mkdir(parents=True)
        (folder / "comm").write_text(f"{name}\n")
        (folder / "fd" / "3").symlink_to(f"socket:[{inode}]")
    ids = {}
    for path, pids in (("web.service", "10\n"), ("pair.service", "20\n21\n0\n")):
        folder = cgroups / path
        folder.mkdir(parents=True)
        (folder / "cgroup.procs").write_text(pids)
        ids[path] = folder.stat().st_ino
    pool = Pool("10.0.0.1", "10.0.0.5", 80)
    sockets = [
        LiveSocket(pool, 1, 0, 500, ids["web.service"]),
        LiveSocket(pool, 1, 0, 501, ids["pair.service"]),
        LiveSocket(pool, 1, 0, 502, ids["pair.service"]),
        LiveSocket(pool, 1, 0, 503, ids["pair.service"]),  # closed meanwhile
        LiveSocket(pool, 1, 0, 504, None),
    ]
    found = Owners(proc, cgroups).of(sockets, 0.0)
    assert [(found[n].process, found[n].pid, found[n].cgroup) for n in range(5)] == [
        ("alone", 10, "/web.service"),
        ("one", 20, "/pair.service"),
        ("two", 21, "/pair.service"),
        ("", None, "/pair.service"),
        ("", None, ""),
    ]


def test_younger_counts_from_the_end_of_time_wait() -> None:
    held = Held(1, ((10.0, 5), (58.112, 3), (59.904, 2)))
    assert (held.younger(1.0), held.younger(5.0), held.younger(60.0)) == (2, 5, 10)
