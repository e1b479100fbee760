"""Tunings in real, fresh network namespaces; and in a directory that plays /proc/sys."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from lab.sysctl.apply import Applied, _Attempt, apply, own_sysctls, read_sysctls
from lab.sysctl.catalogue import CATALOGUE
from lab.sysctl.tuning import Tuning, TuningError, parse
from lab.tunings import builtin_names, load
from loadgen.sampling.namespace import new_namespace, own_namespace

_T = TypeVar("_T")
BUCKETS = "net.netfilter.nf_conntrack_buckets"


@pytest.fixture
def namespace() -> Iterator[int]:
    descriptor = new_namespace()
    yield descriptor
    os.close(descriptor)


def tuned(text: str) -> Tuning:
    return parse(text, name="mine", source="./mine.conf")


def put(text: str, namespace: int, *, lenient: bool = False) -> Applied:
    return apply(tuned(text), namespace, arm="after", role="client", lenient=lenient)


def host_value(key: str) -> str:
    return " ".join(Path("/proc/sys", key.replace(".", "/")).read_text().split())


needs_conntrack = pytest.mark.skipif(
    not Path("/proc/sys/net/netfilter/nf_conntrack_count").exists(),
    reason="conntrack is not loaded here",
)


@pytest.mark.kernel
@pytest.mark.parametrize("name", builtin_names())
def test_a_built_in_tuning_holds_in_a_fresh_namespace(name: str, namespace: int) -> None:
    tuning = load(name)
    applied = apply(tuning, namespace, arm="before", role="server")
    for setting in tuning.settings:
        if setting.key not in applied.skipped:
            assert applied.in_force[setting.key] == setting.value
    assert all(tuning.settings[0].key != key for key in applied.skipped)
    assert "net.ipv4.tcp_tw_reuse" in applied.in_force


@pytest.mark.kernel
def test_values_hold_in_the_namespace_and_not_on_the_host(namespace: int) -> None:
    keys = ("net.ipv4.tcp_tw_reuse", "net.ipv4.ip_local_port_range", "net.core.somaxconn")
    before = {key: host_value(key) for key in keys}
    applied = put(
        "net.ipv4.tcp_tw_reuse = 1\nnet/ipv4/ip_local_port_range = 40000\t40999\n"
        "net.core.somaxconn = 0x100\nnet.ipv4.ip_local_reserved_ports = 40002,40001\n",
        namespace,
    )
    assert read_sysctls(namespace, keys) == {
        "net.ipv4.tcp_tw_reuse": "1",
        "net.ipv4.ip_local_port_range": "40000 40999",
        "net.core.somaxconn": "256",
    }
    assert applied.in_force["net.ipv4.ip_local_reserved_ports"] == "40001-40002"
    assert applied.skipped == {}
    assert {key: host_value(key) for key in keys} == before


@pytest.mark.kernel
def test_lines_are_written_in_the_files_order(namespace: int) -> None:
    """The range may begin at 500 only once ports from 400 need no privilege."""
    start = "net.ipv4.ip_unprivileged_port_start = 400"
    wide = "net.ipv4.ip_local_port_range = 500 64999"
    assert put(f"{start}\n{wide}\n", namespace).skipped == {}
    other = new_namespace()
    try:
        with pytest.raises(TuningError, match=r"mine\.conf:1: .*ip_unprivileged_port_start"):
            put(f"{wide}\n{start}\n", other)
    finally:
        os.close(other)


@pytest.mark.kernel
def test_keys_that_do_not_exist_are_left_out_of_a_reading(namespace: int) -> None:
    assert read_sysctls(namespace, ["net.ipv4.no_such", "net.ipv4.tcp_syncookies"]).keys() == {
        "net.ipv4.tcp_syncookies"
    }


ERRORS = [
    ("net.ipv4.tcp_tw_reuze = 1", "no such key", "did you mean net.ipv4.tcp_tw_reuse?"),
    ("net.ipv4.zzz = 1", "no such key", "correct the name"),
    ("net.ipv4.tcp_tw_recycle = 1", "removed in 4.12", "delete the line"),
    (
        "net.ipv4.netfilter.ip_conntrack_max = 524288",
        "gone since 4.9",
        "use net.netfilter.nf_conntrack_max",
    ),
    ("net.ipv4.tcp_tw_reuse = 3", "rejects '3'", "permitted: 0 to 2"),
    ("net.ipv4.tcp_syn_retries = 128", "rejects '128'", "permitted: 1 to 127"),
    ("net.ipv4.ip_local_port_range = 100 5000", "rejects", "ip_unprivileged_port_start"),
    ("net.ipv4.tcp_congestion_control = nope", "rejects 'nope'", "correct the value"),
    ("net.ipv4.tcp_available_congestion_control = x", "read-only", "delete the line"),
    ("net.ipv4.tcp_max_orphans = 7", "belongs to the host", "set it there"),
    ("net.ipv4.tcp_mem = 1 2 3", "belongs to the host", "set it there"),
    ("net.core.netdev_max_backlog = 7", "belongs to the host", "set it there"),
]

UNFIT = [
    ("net.ipv4.tcp_tw_reuse = yes", "rejects 'yes'"),
    ("net.ipv4.tcp_tw_reuse =", "rejects ''"),
    ("net.ipv4.ip_local_port_range = 6000 5000", "rejects"),
    ("net.ipv4.ip_local_reserved_ports = 11211 # x", "rejects"),
    ("net.ipv4.ip_local_port_range = 5000", "reads back '5000 60999'"),
]
"""Refused when the file is read (test_reading.py); with a `-` the kernel's own answer is told."""


@pytest.mark.kernel
@pytest.mark.parametrize(("line", "reason", "remedy"), ERRORS, ids=[line for line, _, _ in ERRORS])
def test_a_line_that_cannot_hold_is_one_clear_line(
    namespace: int, line: str, reason: str, remedy: str
) -> None:
    with pytest.raises(TuningError) as caught:
        put(f"# x\n\n{line}\n", namespace)
    message = str(caught.value)
    key = line.partition(" ")[0]
    assert message.startswith(f"after arm (client): ./mine.conf:3: {key}: ")
    assert reason in message
    assert remedy in message
    assert "put '-' before the key" in message
    assert "\n" not in message


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("line", "reason"), [*((line, reason) for line, reason, _ in ERRORS), *UNFIT]
)
def test_the_same_line_with_a_minus_is_skipped_with_its_reason(
    namespace: int, line: str, reason: str
) -> None:
    applied = put(f"-{line}\nnet.ipv4.tcp_rfc1337 = 1\n", namespace)
    assert applied.in_force["net.ipv4.tcp_rfc1337"] == "1"
    ((key, told),) = applied.skipped.items()
    assert key == line.partition(" ")[0]
    assert told.startswith("line 1: ")
    assert reason in told


@pytest.mark.kernel
@needs_conntrack
def test_the_size_of_the_conntrack_table_is_the_hosts(namespace: int) -> None:
    now = host_value(BUCKETS)
    with pytest.raises(TuningError, match=rf"belongs to the host .* stays {now}"):
        put(f"{BUCKETS} = {int(now) // 2}\n", namespace)
    assert host_value(BUCKETS) == now


@pytest.mark.kernel
@needs_conntrack
def test_a_shared_key_that_has_the_wanted_value_already_holds(namespace: int) -> None:
    now = host_value(BUCKETS)
    applied = put(f"{BUCKETS} = {now}\n", namespace)
    assert applied.skipped == {}
    assert applied.in_force[BUCKETS] == now


@pytest.mark.kernel
def test_keys_without_bearing_are_listed_and_the_host_is_left_alone(namespace: int) -> None:
    before = host_value("vm.swappiness")
    applied = put(
        "vm.swappiness = 1\nnet.core.rmem_max = 99999\nnet.core.default_qdisc = pfifo\n"
        "net.ipv4.tcp_tw_reuse = 1\n",
        namespace,
    )
    assert applied.skipped.keys() == {
        "vm.swappiness",
        "net.core.rmem_max",
        "net.core.default_qdisc",
    }
    assert "whole host" in applied.skipped["vm.swappiness"]
    assert host_value("vm.swappiness") == before
    assert applied.in_force["net.ipv4.tcp_tw_reuse"] == "1"


@pytest.mark.kernel
def test_nothing_is_written_when_a_line_is_refused_on_sight(namespace: int) -> None:
    with pytest.raises(TuningError, match=r":2: "):
        put("net.ipv4.tcp_tw_reuse = 0\nnet.ipv4.zzz = 1\n", namespace)
    fresh = read_sysctls(namespace, ["net.ipv4.tcp_tw_reuse"])
    assert fresh == {"net.ipv4.tcp_tw_reuse": "2"}


@pytest.mark.kernel
def test_every_line_that_cannot_hold_is_reported(namespace: int) -> None:
    with pytest.raises(TuningError) as caught:
        put("net.ipv4.zzz = 1\nnet.ipv4.tcp_tw_recycle = 1\n", namespace)
    assert [":1:" in line or ":2:" in line for line in caught.value.problems] == [True, True]


@pytest.mark.kernel
def test_lenient_skips_what_is_understood_and_refuses_the_rest(namespace: int) -> None:
    applied = put(
        "net.ipv4.tcp_tw_recycle = 1\nnet.core.netdev_max_backlog = 7\nnet.ipv4.tcp_rfc1337 = 1\n",
        namespace,
        lenient=True,
    )
    assert applied.skipped.keys() == {"net.ipv4.tcp_tw_recycle", "net.core.netdev_max_backlog"}
    for mistake in ("net.ipv4.tcp_tw_reuze = 1", "net.ipv4.tcp_tw_reuse = 9"):
        with pytest.raises(TuningError):
            put(f"{mistake}\n", namespace, lenient=True)


@pytest.mark.kernel
def test_the_labs_own_namespace_is_never_tuned() -> None:
    own = own_namespace()
    try:
        with pytest.raises(ValueError, match="the lab's own"):
            put("net.ipv4.tcp_tw_reuse = 1\n", own)
    finally:
        os.close(own)


def _attempt(root: Path, text: str, *, lenient: bool = False) -> _Attempt:
    """An attempt on plain files: `root` plays the host's /proc/sys and the namespace's as well."""

    def inside(call: Callable[[], _T]) -> _T:
        return call()

    return _Attempt(tuned(text), inside, root, lenient=lenient)


def _files(root: Path, **values: str) -> None:
    for key, value in values.items():
        path = root / key.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value)


def test_a_key_that_leaks_to_the_host_is_put_back(tmp_path: Path) -> None:
    """In one directory for both, every write leaks, as nf_conntrack_max did in 5.7 to 5.12.1."""
    _files(tmp_path, net__ipv4__leaky="1\n")
    attempt = _attempt(tmp_path, "net.ipv4.leaky = 2\n")
    attempt.look()
    attempt.write()
    (refusal,) = attempt.errors
    assert "shared with the host" in str(refusal)
    assert (tmp_path / "net/ipv4/leaky").read_text() == "1\n"


def test_a_key_of_the_host_is_not_written_even_where_it_is_writable(tmp_path: Path) -> None:
    _files(tmp_path, net__netfilter__nf_conntrack_max="1\n", net__netfilter__nf_conntrack_count="0")
    attempt = _attempt(tmp_path, "net.netfilter.nf_conntrack_max = 2\n")
    attempt.look()
    assert attempt.pending == []
    assert "belongs to the host" in str(attempt.errors[0])


@pytest.mark.parametrize(
    ("key", "module"),
    [
        ("net.netfilter.nf_conntrack_max", "nf_conntrack"),
        ("net.netfilter.nf_conntrack_tcp_timeout_time_wait", "nf_conntrack"),
        ("net.bridge.bridge-nf-call-iptables", "br_netfilter"),
    ],
)
def test_a_module_that_is_not_loaded_is_named(tmp_path: Path, key: str, module: str) -> None:
    _files(tmp_path, net__ipv4__tcp_tw_reuse="2\n")
    attempt = _attempt(tmp_path, f"{key} = 2\n")
    attempt.look()
    assert f"run `modprobe {module}`" in str(attempt.errors[0])


def test_a_catalogued_key_of_a_later_kernel_says_when_it_came(tmp_path: Path) -> None:
    _files(tmp_path, net__ipv4__tcp_tw_reuse="2\n")
    attempt = _attempt(tmp_path, "net.ipv4.tcp_tw_reuse_delay = 500\n", lenient=True)
    attempt.look()
    assert "it came with 6.14" in attempt.skipped["net.ipv4.tcp_tw_reuse_delay"]


def test_the_hosts_own_view_may_lack_a_shared_key(tmp_path: Path) -> None:
    """Inside a container neither namespace shows tcp_mem, and it is the host's all the same."""
    _files(tmp_path, net__ipv4__tcp_tw_reuse="2\n")
    attempt = _attempt(tmp_path, "net.ipv4.tcp_mem = 1 2 3\n")
    attempt.look()
    assert "belongs to the host" in str(attempt.errors[0])
    assert "stays" not in str(attempt.errors[0])


@pytest.mark.kernel
def test_an_arm_that_sets_nothing_is_on_record_with_every_catalogued_key(namespace: int) -> None:
    applied = apply(load("kernel-default"), namespace, arm="before", role="client")
    assert applied.in_force == read_sysctls(namespace, CATALOGUE)
    assert len(applied.in_force) > 10


@pytest.mark.kernel
def test_what_the_host_has_already_holds_though_no_namespace_shows_it(namespace: int) -> None:
    """`sysctl -a` as a tuning: hundreds of its lines belong to the host, and hold there."""
    keys = ["net.core.bpf_jit_harden", "net.core.busy_poll", "net.core.dev_weight"]
    here = {key: value for key, value in own_sysctls(keys).items() if value}
    assert here
    applied = put("".join(f"{key} = {value}\n" for key, value in here.items()), namespace)
    assert applied.skipped == {}
