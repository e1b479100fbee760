"""Whether two arms differ in anything that decides connects."""

from lab.sysctl.effect import deciding, differing, only_tracking

REUSE, RANGE, WMEM = (
    "net.ipv4.tcp_tw_reuse", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_wmem",
)  # fmt: skip
TIMER = "net.netfilter.nf_conntrack_tcp_timeout_time_wait"


def test_values_that_the_kernel_prints_alike_are_alike() -> None:
    before = {REUSE: "2", RANGE: "32768 60999"}
    assert differing(before, {REUSE: "0x2", RANGE: "32768\t60999"}) == []
    assert differing(before, {REUSE: "1", RANGE: "32768 60999"}) == [REUSE]
    assert differing(before, {REUSE: "2"}) == [RANGE], "a key that one arm cannot read"


def test_only_catalogued_keys_that_bear_on_connects_decide() -> None:
    assert deciding([REUSE, WMEM, "net.ipv4.no_such", TIMER]) == [REUSE, TIMER]
    assert only_tracking([TIMER])
    assert not only_tracking([TIMER, REUSE])
    assert not only_tracking([])
