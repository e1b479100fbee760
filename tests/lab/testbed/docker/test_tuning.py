"""What the engine is asked to set, and what its refusals mean. No engine is needed for that."""

from __future__ import annotations

import pytest

from lab.sysctl.tuning import Tuning, parse
from lab.testbed.docker import tuning as docker_tuning
from lab.testbed.docker.orders import Seen

MAX = "net.netfilter.nf_conntrack_max"
INSIDE = {
    "net.ipv4.tcp_tw_reuse": "2",
    "net.core.somaxconn": "4096",
    "net.ipv4.ip_local_port_range": "32768 60999",
    "net.ipv4.tcp_ehash_entries": "-1",
    MAX: "262144",
}
FIXED = {MAX, "net.ipv4.tcp_ehash_entries"}


def seen(values: dict[str, str], fixed: set[str]) -> Seen:
    writable = [key for key in values if key not in fixed]
    return Seen(asked=[], values=values, writable=writable, names=list(values), boot="b")


CONTAINER = seen(INSIDE, FIXED)
HOST = seen({**INSIDE, "net.core.rmem_max": "212992"}, {"net.ipv4.tcp_ehash_entries"})


def tuned(text: str) -> Tuning:
    return parse(text, name="mine", source="./mine.conf")


def order(text: str) -> docker_tuning.Order:
    return docker_tuning.order(tuned(text), inside=CONTAINER, host=HOST)


def test_what_a_container_can_have_goes_to_the_engine_in_order() -> None:
    found = order("net.core.somaxconn = 9\nnet.ipv4.tcp_tw_reuse = 1\n")
    assert list(found.sysctls.items()) == [
        ("net.core.somaxconn", "9"),
        ("net.ipv4.tcp_tw_reuse", "1"),
    ]
    assert (found.skipped, found.errors) == ({}, [])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"{MAX} = 9", "belongs to the host"),
        ("net.core.rmem_max = 9", "belongs to the host"),
        ("fs.file-max = 9", "no part of a network namespace"),
        ("net.ipv4.tcp_ehash_entries = 9", "read-only on this kernel"),
        ("-net.ipv4.tcp_tw_recycle = 1", "was removed in 4.12"),
        ("net.ipv4.tcp_tw_recycle = 1", "was removed in 4.12"),
        ("-net.ipv4.no_such_key = 1", "no such key"),
    ],
)
def test_what_it_cannot_have_is_left_out_with_the_reason(line: str, reason: str) -> None:
    found = order(f"{line}\n")
    ((_, told),) = found.skipped.items()
    assert told.startswith("line 1: ")
    assert reason in told
    assert (found.sysctls, found.errors) == ({}, [])


def test_a_line_that_holds_already_is_neither_set_nor_left_out() -> None:
    """As it is while the lab has changed the host for this arm."""
    found = order(f"{MAX} = 262144\n")
    assert (found.sysctls, found.skipped, found.errors) == ({}, {}, [])


def test_an_unknown_name_is_an_error_with_a_guess() -> None:
    (refusal,) = order("net.ipv4.tcp_tw_reus = 1\n").errors
    assert "did you mean net.ipv4.tcp_tw_reuse?" in str(refusal)
    error = docker_tuning.error(tuned("\nnet.ipv4.tcp_tw_reus = 1\n"), "after", [refusal])
    assert str(error).startswith("after arm: ./mine.conf:1: net.ipv4.tcp_tw_reus: ")


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (
            "OCI runtime create failed: runc create failed: unable to start container process: "
            "error during container init: write sysctl key net.ipv4.tcp_tw_reuse: write "
            "/proc/sys/net/ipv4/tcp_tw_reuse: invalid argument: unknown",
            "the kernel rejects '7' (Invalid argument, permitted: 0 to 2)",
        ),
        (
            "crun: write to `/proc/sys/net/ipv4/tcp_tw_reuse`: Invalid argument",
            "the kernel rejects '7'",
        ),
        (
            "write /proc/sys/net/ipv4/tcp_tw_reuse: permission denied",
            "may not be written: Permission denied",
        ),
    ],
)
def test_a_runtimes_refusal_is_traced_to_its_line(reason: str, said: str) -> None:
    tuning = tuned("net.core.somaxconn = 9\nnet.ipv4.tcp_tw_reuse = 7\n")
    refusal = docker_tuning.refused(tuning, reason)
    assert refusal is not None
    assert refusal.setting.line == 2
    assert said in str(refusal)


def test_other_refusals_are_about_no_line() -> None:
    tuning = tuned("net.core.somaxconn = 9\n")
    assert docker_tuning.refused(tuning, "no space left on device") is None


def test_what_reads_back_otherwise_is_found() -> None:
    tuning = tuned("net.core.somaxconn = 0x10\nnet.ipv4.ip_local_port_range = 5000\t6000\n")
    asked = dict(tuning.values)
    held = {"net.core.somaxconn": "16", "net.ipv4.ip_local_port_range": "5000 6000"}
    assert docker_tuning.not_held(tuning, asked, held) == []
    (refusal,) = docker_tuning.not_held(tuning, asked, {**held, "net.core.somaxconn": "17"})
    assert "was set to '0x10' but reads back '17'" in str(refusal)
    assert docker_tuning.not_held(tuning, {}, {}) == []
