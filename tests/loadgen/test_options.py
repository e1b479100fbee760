"""What is asked of `loadgen run`, as a record and as its command line."""

import ipaddress
from dataclasses import fields

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.cli.run import command
from loadgen.config import LoadOptions
from loadgen.units import LONGEST, exact, parse_duration

ELSEWHERE = {
    *("start_at", "out", "json_file", "junit", "quiet"),
    *("fleet", "shards", "collector", "fleet_wait", "fleet_key", "image"),
    *("fleet_network", "fleet_sysctl"),
}
"""Options of the command that say nothing about the load."""


def parsed(words: list[str]) -> LoadOptions:
    """Return what the command understands by these words."""
    found = command.make_context("run", list(words)).params
    return LoadOptions(**{name: found[name] for name in found if name not in ELSEWHERE})


def test_the_command_and_the_record_have_the_same_defaults() -> None:
    assert parsed([]) == LoadOptions()
    assert LoadOptions().arguments() == []


def test_the_command_and_the_record_have_the_same_options() -> None:
    names = {parameter.name for parameter in command.params} - ELSEWHERE
    assert {field.name for field in fields(LoadOptions)} == names


_durations = st.floats(1e-6, 1e6)
_counts = st.integers(1, 1000)
_ports = st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(
    lambda pair: (min(pair), max(pair))
)


@given(
    st.builds(
        LoadOptions,
        targets=st.lists(st.sampled_from(["127.0.0.1:11211", "[::1]:1", "a.example:7"])).map(tuple),
        rate=st.none() | st.just("max") | st.floats(1e-6, 1e7),
        duration=_durations,
        schedule=st.sampled_from(["constant", "poisson", "ramp:0-800", "steps:1,2"]),
        concurrency=_counts,
        warmup=st.just(0.0) | _durations,
        op=st.sampled_from(["get", "set", "mix:90/10"]),
        key_space=_counts,
        value_size=st.integers(0, 1000),
        requests_per_connection=_counts,
        close=st.sampled_from(["client", "server", "rst"]),
        client=st.sampled_from(["raw", "pymemcache"]),
        source_addresses=st.lists(st.sampled_from(["198.18.0.1", "::1"])).map(tuple),
        bind_early=st.booleans(),
        local_port_range=st.none() | _ports,
        send=st.sampled_from(["", r"PING\r\n", "@file", "--x"]),
        expect=st.sampled_from(["", "+PONG"]),
        http_host=st.sampled_from(["", "www.example"]),
        status_path=st.sampled_from(["", "/status"]),
        tls=st.booleans(),
        tls_ca=st.sampled_from(["", "ca.pem"]),
        tls_name=st.sampled_from(["", "cache.example"]),
        tls_insecure=st.booleans(),
        tls_resume=st.booleans(),
        password_file=st.sampled_from([None, "secret"]),
        timeout=_durations,
        connect_timeout=st.none() | _durations,
        max_lateness=_durations,
        workers=st.none() | _counts,
        max_in_flight=st.none() | _counts,
        namespaces=st.lists(st.sampled_from(["web1", "host=42", "server=/proc/self/fd/7"])).map(
            tuple
        ),
        sample_interval=_durations,
        thresholds=st.lists(
            st.sampled_from(["failed: rate == 0", "-x", "latency_total: p(99) < 5ms"])
        ).map(tuple),
        abort_on_fail=st.booleans(),
        allowed=st.lists(st.sampled_from([ipaddress.ip_network("10.0.0.0/8")])).map(tuple),
        shard=st.integers(1, 9).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.just(n))),
        seed=st.integers(0, 2**63 - 1),
    )
)
def test_the_command_understands_what_the_record_writes(options: LoadOptions) -> None:
    assert parsed(options.arguments()) == options


@given(st.floats(0, allow_infinity=False, allow_nan=False))
def test_an_exact_number_reads_back_as_itself(value: float) -> None:
    assert float(exact(value)) == value
    assert "e" not in exact(value)


@given(st.floats(0, LONGEST))
def test_an_exact_duration_reads_back_as_itself(value: float) -> None:
    assert parse_duration(f"{exact(value)}s") == value


def test_only_the_lab_finds_a_rate_by_itself() -> None:
    with pytest.raises(click.BadParameter, match="auto is the lab's"):
        parsed(["--rate", "auto"])
