"""The parsers, on what real kernels print and on damaged copies of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.sampling import parse
from loadgen.sampling.parse import ParseError
from loadgen.search import free_ports

SOCKSTAT = b"""\
sockets: used 44
TCP: inuse 1 orphan 0 tw 97 alloc 3 mem 244
UDP: inuse 0 mem 0
UDPLITE: inuse 0
RAW: inuse 0
FRAG: inuse 0 memory 0
"""

SNMP = b"""\
Ip: Forwarding DefaultTTL InReceives OutNoRoutes
Ip: 1 64 12617 3
Icmp: InMsgs InErrors InDestUnreachs
Icmp: 1 0 1
IcmpMsg: InType3 OutType3
IcmpMsg: 1 15
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets
Tcp: 1 200 120000 -1 113 2 7 0
Udp: InDatagrams NoPorts
Udp: 243 0
"""

NETSTAT = b"""\
TcpExt: SyncookiesSent SyncookiesRecv TW TWRecycled PAWSEstab ListenOverflows TCPSynRetrans
TcpExt: 0 0 97 12 0 5 118
IpExt: InNoRoutes InTruncatedPkts
IpExt: 0 0
"""

# Linux 6.18, two CPUs; then 5.4, whose third and eighth columns mean something else.
CONNTRACK_STAT = b"""\
entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop \
icmp_error  expect_new expect_create expect_delete search_restart
0000002a  00000001 00000000 00000000 00000002 00000000 00000000 00000003 00000000 00000000 \
00000005 0000000a  00000001 00000000 00000000 00000000 00000010
0000002a  00000000 00000000 00000000 00000001 00000000 00000000 00000000 00000000 00000000 \
00000004 00000000  00000000 00000000 00000000 00000000 00000001
"""
CONNTRACK_STAT_5_4 = b"""\
entries  searched found new invalid ignore delete delete_list insert insert_failed drop early_drop \
icmp_error  expect_new expect_create expect_delete search_restart
00000001  00000007 00000000 00000000 00000000 0000000f 00000000 00000000 00000000 00000000 \
00000000 00000000  00000000 00000000 00000000 00000000 00000000
"""

SOFTNET = b"""\
0038e1db 00000001 00000002 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000
003e95b4 00000000 00000001 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000
"""

STAT = b"""\
cpu  21954 1 13439 227002 990 2 3051 417 0 0
cpu0 7236 0 5817 118636 80 1 1389 208 0 0
cpu1 14718 1 7622 108366 910 1 1662 209 0 0
intr 5443 0 0 9
ctxt 123456
"""

DEV = b"""\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo
    lo: 1000 10 0 9 0 0 0 0 1000 10 0 9 0 0 0 0
  eth0:9999999 100 0 3 0 0 0 0 77 5 0 1 0 0 0 0
  eth1: 5 1 0 4 0 0 0 0 77 5 0 2 0 0 0 0
"""

PROCESS = b"1234 (a) b (c) R 1 1 1 0 -1 4194304 105 0 0 0 31 12 0 0 20 0 1 0 9 0 0\n"

LIMITS = b"""\
Limit                     Soft Limit           Hard Limit           Units
Max cpu time              unlimited            unlimited            seconds
Max open files            1024                 20000                files
"""


def test_sockstat() -> None:
    found = parse.sockstat(SOCKSTAT)
    assert found["TCP_tw"] == 97
    assert found["TCP_mem"] == 244
    assert found["sockets_used"] == 44
    assert found["FRAG_memory"] == 0


def test_paired() -> None:
    found = parse.paired(SNMP)
    assert found["Tcp_ActiveOpens"] == 113
    assert found["Tcp_MaxConn"] == -1
    assert found["Ip_OutNoRoutes"] == 3
    assert parse.paired(NETSTAT)["TcpExt_TWRecycled"] == 12


def test_conntrack_stat_adds_the_cpus_and_renames() -> None:
    found = parse.conntrack_stat(CONNTRACK_STAT)
    assert found["drop"] == 9
    assert found["early_drop"] == 10
    assert found["search_restart"] == 17
    assert found["clash_resolve"] == 1
    assert found["chaintoolong"] == 3
    assert found["error"] == 1
    assert "entries" not in found


def test_an_older_kernel_lacks_the_newer_columns() -> None:
    """What Linux 5.4 counted in that place is not taken for the new field."""
    found = parse.conntrack_stat(CONNTRACK_STAT_5_4)
    assert "clash_resolve" not in found
    assert "chaintoolong" not in found
    assert found["drop"] == 0


def test_softnet_stat() -> None:
    assert parse.softnet_stat(SOFTNET) == {
        "processed": 0x38E1DB + 0x3E95B4,
        "dropped": 1,
        "times_squeezed": 3,
    }


def test_cpu_stat_stops_at_the_first_other_line() -> None:
    found = parse.cpu_stat(STAT)
    assert set(found) == {"cpu", "cpu0", "cpu1"}
    assert dict(zip(parse.CPU_FIELDS, found["cpu"], strict=True))["softirq"] == 3051


def test_device_drops_leave_lo_out() -> None:
    assert parse.device_drops(DEV) == (7, 3)


def test_a_process_name_may_hold_blanks_and_brackets() -> None:
    assert parse.process_stat(PROCESS) == parse.ProcessStat(
        state="R", parent=1, ticks=43, started=9
    )


@pytest.mark.parametrize(
    ("text", "limit"),
    [(LIMITS, 1024), (b"Max open files            unlimited   unlimited   files\n", None)],
)
def test_open_files_limit(text: bytes, limit: int | None) -> None:
    assert parse.open_files_limit(text) == limit


@pytest.mark.parametrize(
    ("local", "reserved", "available"),
    [
        (b"32768\t60999\n", b"\n", 28232),
        (b"5000\t65000\n", b"\n", 60001),
        (b"11300 11303", b"11300-11301\n", 2),
        (b"1000 1009", b"500-1000,1005,1005-1006,1009-2000,3000", 10 - 4),
        (b"1000 1009", b"1-65535", 0),
    ],
)
def test_ports_available(local: bytes, reserved: bytes, available: int) -> None:
    """The range holds both ends; reserved ranges may overlap and reach beyond it."""
    found = free_ports(*parse.port_range(local), parse.port_list(reserved))
    assert found == available


PARSERS: list[tuple[Callable[[bytes], object], bytes]] = [
    (parse.sockstat, SOCKSTAT),
    (parse.sockstat_places({"TCP_tw": "tw", "TCP_mem": "mem"}), SOCKSTAT),
    (parse.paired, SNMP),
    (parse.paired_places({"Tcp_ActiveOpens": "opens", "Icmp_InMsgs": "icmp"}), SNMP),
    (parse.paired_places({"TcpExt_TW": "tw"}), NETSTAT),
    (parse.conntrack_stat, CONNTRACK_STAT),
    (parse.softnet_stat, SOFTNET),
    (parse.cpu_stat, STAT),
    (parse.device_drops, DEV),
    (parse.process_stat, PROCESS),
    (parse.open_files_limit, LIMITS),
    (parse.port_range, b"32768 60999\n"),
    (parse.port_list, b"8080,9000-9010\n"),
    (parse.integer, b"262144\n"),
    (parse.integers, b"1 2 3\n"),
]


@given(which=st.sampled_from(PARSERS), data=st.data())
def test_damaged_input_raises_only_parse_error(
    which: tuple[Callable[[bytes], object], bytes], data: st.DataObject
) -> None:
    """Cut, overwritten and inserted bytes are either still a table or a ParseError."""
    parser, text = which
    first = data.draw(st.integers(0, len(text)))
    last = data.draw(st.integers(first, len(text)))
    middle = data.draw(st.binary(max_size=12) | st.sampled_from([b"\n", b":", b" ", b"-", b"zz"]))
    with suppress(ParseError):
        parser(text[:first] + middle + text[last:])


@given(which=st.sampled_from(PARSERS), noise=st.binary(max_size=200))
def test_noise_raises_only_parse_error(
    which: tuple[Callable[[bytes], object], bytes], noise: bytes
) -> None:
    """The call is the check: any other exception fails the test."""
    with suppress(ParseError):
        which[0](noise)


_NAMES = st.text("abcXYZ", min_size=1, max_size=4)
_NUMBERS = st.integers(-1, 10**12)
Tables = dict[str, dict[str, int]]


def text_of(tables: Tables) -> bytes:
    """Return the tables in the form of /proc/net/snmp."""
    lines = []
    for section, row in tables.items():
        lines += [f"{section}: {' '.join(row)}", f"{section}: {' '.join(map(str, row.values()))}"]
    return "\n".join(lines).encode() + b"\n"


@given(
    tables=st.dictionaries(_NAMES, st.dictionaries(_NAMES, _NUMBERS, min_size=1), min_size=1),
    data=st.data(),
)
def test_the_fast_way_agrees_with_the_plain_one(tables: Tables, data: st.DataObject) -> None:
    """Also when the numbers change, and when a section gets new fields, as IcmpMsg does."""
    names = [f"{section}_{field}" for section, row in tables.items() for field in row]
    wanted = data.draw(st.lists(st.sampled_from([*names, "no_such"]), unique=True))
    fast = parse.paired_places({name: f"new_{name}" for name in wanted})
    later = {section: {f: data.draw(_NUMBERS) for f in row} for section, row in tables.items()}
    growing = data.draw(st.sampled_from(list(later)))
    more = data.draw(st.dictionaries(_NAMES, _NUMBERS))
    new = {field: number for field, number in more.items() if field not in later[growing]}
    grown = later | {growing: new | later[growing]}
    for text in map(text_of, (tables, later, grown, grown, tables)):
        plain = parse.paired(text)
        expected = {f"new_{name}": plain[name] for name in wanted if name in plain}
        assert fast(text) == expected


def test_icmpmsg_may_grow_while_sampling() -> None:
    """A new ICMP type moves all that follows; the numbers wanted are found again."""
    fast = parse.paired_places({"Tcp_ActiveOpens": "opens"})
    assert fast(SNMP) == {"opens": 113}
    grown = SNMP.replace(b"OutType3\n", b"OutType3 OutType8\n").replace(b"1 15\n", b"1 15 2\n")
    assert fast(grown) == {"opens": 113}


def test_the_fast_sockstat_agrees_with_the_plain_one() -> None:
    wanted = {"TCP_tw": "tw", "UDP_mem": "mem", "TCP_no": "no"}
    assert parse.sockstat_places(wanted)(SOCKSTAT) == {"tw": 97, "mem": 0}
