"""conntrack's words, read and written."""

from itertools import pairwise

from lab.claims.experiments.conntrack import object_size
from lab.testbed.tracking import Entry, parse_entries, restore_lines

LISTED = """\
tcp      6 119 TIME_WAIT src=198.18.0.1 dst=198.19.0.1 sport=40000 dport=11211 src=198.19.0.1 dst=198.18.0.1 sport=11211 dport=40000 [ASSURED] mark=0 use=1
tcp      6 9 CLOSE src=198.18.0.1 dst=198.19.0.1 sport=40002 dport=11212 packets=5 bytes=268 src=198.19.0.1 dst=198.18.0.1 sport=11212 dport=40002 mark=0 use=1
udp      17 29 src=198.18.0.1 dst=198.19.0.1 sport=5 dport=53 [UNREPLIED] src=198.19.0.1 dst=198.18.0.1 sport=53 dport=5 mark=0 use=1
conntrack v1.4.7 (conntrack-tools): 3 flow entries have been shown.
"""


def test_tcp_entries_are_read() -> None:
    assert parse_entries(LISTED) == [
        Entry("TIME_WAIT", 119, "198.18.0.1", 11211),
        Entry("CLOSE", 9, "198.18.0.1", 11212),
    ]


def test_made_up_entries_are_all_different_and_nobodys() -> None:
    """Across the step from one address to the next too; none is an address of a testbed's side."""
    lines = list(restore_lines(60_002, 60))
    assert len(set(lines)) == 60_002
    assert all(one != other for one, other in pairwise(lines))
    assert " -d 198.19.128.0 " in lines[59_999]
    assert " -d 198.19.128.1 " in lines[60_000]
    assert " --sport 61023 " in lines[59_999]


def test_the_size_of_an_entry_is_the_slabs_object_size() -> None:
    table = (
        "slabinfo - version: 2.1\n"
        "# name <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>\n"
        "nf_conntrack_expect 0 0 208 19 1 : tunables 0 0 0\n"
        "nf_conntrack 147 208 256 16 1 : tunables 0 0 0\n"
    )
    assert object_size(table) == 256
    assert object_size("slabinfo - version: 2.1\n") is None
