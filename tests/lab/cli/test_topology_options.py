"""`lab run --topology`: which options go together, and whose each tuning is."""

import subprocess
import sys
from pathlib import Path

import pytest

from lab.sysctl.tuning import TuningError
from lab.tunings import load_for

ROLES = ("client", "nat", "server")


def test_a_tuning_for_each_role(tmp_path: Path) -> None:
    (tmp_path / "n.conf").write_text("net.netfilter.nf_conntrack_tcp_timeout_time_wait = 5\n")
    found = load_for(f"client=article,nat={tmp_path}/n.conf", ROLES)
    assert found.name == "client=article, nat=n"
    assert found.of("client").values["net.ipv4.tcp_tw_reuse"] == "1"
    assert list(found.of("nat").values) == ["net.netfilter.nf_conntrack_tcp_timeout_time_wait"]
    assert found.of("server").values == {}
    assert set(found.values) == set(found.of("client").values) | set(found.of("nat").values)


def test_a_tuning_without_roles_is_for_the_two_ends() -> None:
    found = load_for("article", ROLES)
    assert found.of("client") == found.of("server") == found
    assert found.of("nat").values == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("proxy=article", "there is no proxy here, only client, nat, server"),
        ("nat=article,nat=article", "nat has a tuning already"),
        ("nat=articel", "did you mean article?"),
    ],
)
def test_a_role_that_cannot_be_is_one_clear_line(text: str, says: str) -> None:
    with pytest.raises(TuningError) as caught:
        load_for(text, ROLES)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--topology", "nat", "--testbed", "docker"], "--topology nat needs --testbed netns"),
        (["--nat-room", "5"], "--nat-room belongs to --topology nat, not to direct"),
        (["--topology", "router", "--proxy", "haproxy"], "--proxy belongs to --topology proxy"),
        (
            ["--topology", "proxy", "--proxy", "nutcracker", "--server", "nginx"],
            "nutcracker speaks for memcached and redis only, not for 'nginx'; --proxy haproxy",
        ),
        (
            ["--topology", "proxy", "--proxy", "nutcracker", "--tls"],
            "nutcracker does not speak TLS; --proxy haproxy passes it on",
        ),
        (["--topology", "nat", "--rate", "auto"], "--topology nat: give --rate as a number"),
        (["--topology", "nat", "--nat-room", "many"], "write a whole number, auto or all"),
        (["--after", "client=article", "--testbed", "docker"], "needs --testbed netns"),
        (["--after", "nat=article"], "there is no nat here, only client, server"),
    ],
)
def test_options_that_do_not_go_together_end_the_command(arguments: list[str], says: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lab", "run", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
