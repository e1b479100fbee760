"""Other people's files, as they are found on the web: every line is applied or told, none stops a run.

The files are put together from what tuning guides, distributions and Kubernetes manuals ship: keys
of the host, of devices, of modules, of other kernels and of other decades among those that matter.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lab.sysctl.apply import apply, read_sysctls
from lab.sysctl.names import device_of, elsewhere, is_rooted, obsolete
from lab.sysctl.tuning import TuningError, parse
from loadgen.sampling.namespace import new_namespace

CLUSTER = """
net.ipv4.ip_forward = 1
net.bridge.bridge-nf-call-iptables = 1
fs.may_detach_mounts = 1
vm.overcommit_memory=1
fs.inotify.max_user_watches=89100
net.netfilter.nf_conntrack_max=2310720
net.ipv4.tcp_keepalive_intvl =15
net.ipv4.tcp_max_tw_buckets = 36000
net.ipv4.tcp_tw_reuse = 1
net.ipv4.tcp_max_orphans = 327680
net.ipv4.ip_conntrack_max = 65536
net.ipv4.conf.all.route_localnet = 1
net.ipv4.vs.conn_reuse_mode = 0
"""
PROXY = """
fs.file-max = 51200
net.core.default_qdisc = fq
net.ipv4.tcp_congestion_control = no_such_algorithm
net.core.rmem_max = 67108864
net.core.netdev_max_backlog = 250000
net.ipv4.tcp_mem = 25600 51200 102400
net.ipv4.tcp_rmem = 4096 87380 67108864
net.ipv4.tcp_wmem = 4096 65536
net.ipv4.tcp_tw_reuse = 1      # reuse sockets when safe
net.ipv4.tcp_tw_recycle = 0
net.ipv4.tcp_fack = 1
"""
DISTRIBUTION = """
# as systemd ships it
kernel.sysrq = 0x01b6
net.ipv4.conf.default.rp_filter = 2
net.ipv4.conf.*.rp_filter = 2
-net.ipv4.conf.all.rp_filter
-net.ipv4.ping_group_range = 0 2147483647
-fs.protected_regular = 1
net.ipv4.tcp_tw_reuse = 1
"""
DECADES = """
net.ipv4.netfilter.ip_conntrack_tcp_timeout_established = 180
net.nf_conntrack_max = 25000000
net.ipv4.conf.no-such-device0.rp_filter = 0
net.ipv6.neigh.no-such-device0.gc_stale_time = 100
net.ipv4.route.flush = 1
net.ipv4.ipfrag_high_thresh = 1
net.ipv4.tcp_max_ssthresh = 100
net.ipv4.tcp_vegas_cong_avoid = 0
net.ipv4.tcp_westwood = 0
net.ipv4.tcp_tw_timeout = 5
net.ipv4.tcp_rto_min_us = 200000
net.sctp.no_such_key = 100
net.decnet.no_such_key = 1
net.core.somaxconn = 65535
kernel.shmmax = 68719476736
vm.swappiness = 10
net.ipv4.tcp_tw_reuse = 1
"""
FILES = {"cluster": CLUSTER, "proxy": PROXY, "distribution": DISTRIBUTION, "decades": DECADES}


@pytest.fixture
def namespace() -> Iterator[int]:
    descriptor = new_namespace()
    yield descriptor
    os.close(descriptor)


@pytest.mark.kernel
@pytest.mark.parametrize("name", FILES)
def test_every_line_is_in_force_or_listed_with_its_reason(name: str, namespace: int) -> None:
    tuning = parse(FILES[name], name=name, source=f"./{name}.conf")
    applied = apply(tuning, namespace, arm="after", role="client", lenient=True)
    values = read_sysctls(namespace, tuning.values)
    for setting in tuning.settings:
        if setting.key in applied.skipped:
            told = applied.skipped[setting.key]
            assert told.startswith(f"line {setting.line}: ")
            assert len(told) > len(f"line {setting.line}: ") + 10
        else:
            assert setting.key in values or setting.key.startswith(("fs.", "vm.", "kernel."))
    assert values["net.ipv4.tcp_tw_reuse"] == "1"
    assert applied.skipped.keys() <= tuning.values.keys()


@pytest.mark.kernel
def test_what_is_out_of_scope_says_whose_it_is(namespace: int) -> None:
    text = CLUSTER + PROXY + DISTRIBUTION + DECADES
    tuning = parse(text, name="all", source="./all.conf")
    skipped = apply(tuning, namespace, arm="after", role="client", lenient=True).skipped
    for key, says in {
        "fs.may_detach_mounts": "the whole host (which has no such key)",
        "fs.inotify.max_user_watches": "the whole host, which",
        "net.ipv4.tcp_mem": "belongs to the host",
        "net.core.rmem_max": "belongs to the host",
        "net.ipv4.tcp_tw_recycle": "removed in 4.12",
        "net.ipv4.ip_conntrack_max": "today net.netfilter.nf_conntrack_max",
        "net.ipv4.tcp_congestion_control": "rejects 'no_such_algorithm'",
        "net.ipv4.tcp_wmem": "reads back",
        "net.ipv4.conf.*.rp_filter": "a glob over network devices",
        "net.ipv4.conf.no-such-device0.rp_filter": "no device no-such-device0",
        "net.ipv4.route.flush": "an action and no setting",
        "net.ipv4.ipfrag_high_thresh": "rejects '1'",
        "net.sctp.no_such_key": "belongs to SCTP",
        "net.ipv4.vs.conn_reuse_mode": "belongs to IPVS",
    }.items():
        assert says in skipped[key]


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("net.ipv4.tcp_tw_reuze = 1", "did you mean net.ipv4.tcp_tw_reuse?"),
        ("net.ipv4.tcp_fin_timout = 1", "did you mean net.ipv4.tcp_fin_timeout?"),
        ("nett.ipv4.tcp_tw_reuse = 1", "did you mean net.ipv4.tcp_tw_reuse?"),
        ("net.ipv5.tcp_tw_reuse = 1", "did you mean net.ipv4.tcp_tw_reuse?"),
        ("net.ipv4.conf.eth0.rp_filtre = 1", "no such key"),
        ("net.ipv4.tcp_tw_reuse = 11", "the kernel rejects '11'"),
    ],
)
def test_a_slip_of_the_pen_stops_the_run(namespace: int, line: str, says: str) -> None:
    tuning = parse(f"vm.swappiness = 1\n{line}\n", name="mine", source="./mine.conf")
    with pytest.raises(TuningError) as caught:
        apply(tuning, namespace, arm="after", role="client", lenient=True)
    assert str(caught.value).startswith(
        f"after arm (client): ./mine.conf:2: {line.split(maxsplit=1)[0]}: "
    )
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("net.ipv4.tcp_rto_min_us", "a key of later kernels"),
        ("net.sctp.rto_min", "belongs to SCTP"),
        ("net.ipv6.conf.all.disable_ipv6", "belongs to IPv6"),
        ("net.ipv4.vs.timeout_close", "belongs to IPVS"),
        ("net.ipv4.tcp_tw_reuze", ""),
        ("net.core.nonsense", ""),
        ("net.nonsense", ""),
        ("vm.swappiness", ""),
    ],
)
def test_whose_an_absent_key_is(key: str, says: str) -> None:
    assert says in elsewhere(key)
    assert bool(elsewhere(key)) is bool(says)
    assert not (elsewhere(key) and obsolete(key))


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("net.ipv4.conf.eth0.rp_filter", ("eth0", "net.ipv4.conf.default.rp_filter")),
        ("net.ipv4.conf.eth0.100.rp_filter", ("eth0.100", "net.ipv4.conf.default.rp_filter")),
        ("net.ipv6.neigh.lan.gc_stale_time", ("lan", "net.ipv6.neigh.default.gc_stale_time")),
        ("net.ipv4.tcp_tw_reuse", None),
        ("net.core.somaxconn", None),
    ],
)
def test_the_device_in_a_key(key: str, expected: tuple[str, str] | None) -> None:
    assert device_of(key) == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [("net.ipv4.x", True), ("vm.x", True), ("nett.ipv4.x", False), ("x", False)],
)
def test_keys_begin_with_a_folder_of_proc_sys(key: str, expected: bool) -> None:
    assert is_rooted(key) is expected
