"""Targets: how they are written, and which are safe to load."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.target import Credentials, Target, allowed, parse_target, refusal


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:11211", "127.0.0.1", 11211),
        ("127.0.0.1", "127.0.0.1", 11211),
        ("cache.example:1", "cache.example", 1),
        ("localhost", "localhost", 11211),
        ("[::1]", "::1", 11211),
        ("[::1]:65535", "::1", 65535),
    ],
)
def test_a_target_is_read_and_written_alike(text: str, host: str, port: int) -> None:
    target = parse_target(text)
    assert target == Target(host, port)
    assert parse_target(str(target)) == target


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a target: write HOST:PORT"),
        (":11211", "is not a target"),
        ("a b:1", "is not a target"),
        ("::1", r"put an IPv6 address in brackets: \[::1\]:11211"),
        ("[::1", r"write \[ADDRESS\]:PORT"),
        ("[::1]11211", r"write \[ADDRESS\]:PORT"),
        ("[]:1", "is not a target"),
        ("a:", "port must be a number from 1 to 65535"),
        ("a:0", "port must be a number from 1 to 65535, not '0'"),
        ("a:65536", "port must be a number"),
        ("a:http", "port must be a number"),
        ("a:-1", "port must be a number"),
        ("/run/memcached.sock", "is a Unix socket: it has no ports, no TIME_WAIT"),
        ("unix:/run/memcached.sock", "none of the limits that are looked for here exist on it"),
        ("./m.sock", "give HOST:PORT"),
        ("a:²", "port must be a number"),
    ],
)
def test_what_is_no_target_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_target(text)


@pytest.mark.parametrize(
    ("text", "target", "written"),
    [
        ("memcached://a", Target("a", 11211), "a:11211"),
        ("redis://198.18.0.3", Target("198.18.0.3", 6379, "redis"), "redis://198.18.0.3:6379"),
        ("REDIS://h:1/", Target("h", 1, "redis"), "redis://h:1"),
        ("redis://h/0", Target("h", 6379, "redis"), "redis://h:6379"),
        ("http://h", Target("h", 80, "http"), "http://h:80"),
        ("http://[::1]:81/a/b?c=d#e", Target("::1", 81, "http", "/a/b?c=d"),
         "http://[::1]:81/a/b?c=d"),
        ("http://h?x", Target("h", 80, "http", "/?x"), "http://h:80/?x"),
        ("tcp://h:22", Target("h", 22, "tcp"), "tcp://h:22"),
        ("memcacheds://h", Target("h", 11211, "memcacheds"), "memcacheds://h:11211"),
        ("https://h/a", Target("h", 443, "https", "/a"), "https://h:443/a"),
        ("tls://h:1", Target("h", 1, "tls"), "tls://h:1"),
    ],
)  # fmt: skip
def test_a_url_says_what_is_spoken(text: str, target: Target, written: str) -> None:
    assert parse_target(text) == target
    assert str(target) == written
    assert parse_target(written) == target


def test_credentials_are_read_and_not_written() -> None:
    target = parse_target("redis://ann:p%40ss%3Aw@h:1")
    assert target.credentials == Credentials("ann", "p@ss:w")
    assert parse_target("redis://:x@h").credentials == Credentials("", "x")
    assert parse_target("redis://h").credentials is None
    assert "p@ss" not in repr(target) + str(target)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ftp://h", "ftp:// is not spoken here; known are memcached://"),
        ("tcp://h", "port must be a number from 1 to 65535"),
        ("redis://h/3", "redis:// has no path here; leave out '/3'"),
        ("tcp://h:1/x", "has no path here"),
        ("http://h/a b", "write the path in ASCII"),
        ("http://h/ä", "write the path in ASCII"),
        ("http://h/\r\nX: y", "write the path in ASCII"),
        ("http://", "is not a target"),
        ("redis://:secret@h:x", r"'redis://h:x': the port"),
        ("/run/memcached.sock", "is a Unix socket: it has no ports"),
        ("unix:/run/redis.sock", "is a Unix socket"),
    ],
)
def test_what_is_no_url_is_refused_without_a_password(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_target(text)
    assert "secret" not in str(caught.value)


@given(st.sampled_from(["redis", "http", "tcp", "x"]), st.text(max_size=20))
def test_any_url_is_a_target_or_a_value_error(scheme: str, rest: str) -> None:
    try:
        target = parse_target(f"{scheme}://{rest}")
    except ValueError:
        return
    assert parse_target(str(target)) == target


@given(st.text(max_size=20))
def test_any_text_is_a_target_or_a_value_error(text: str) -> None:
    try:
        assert 1 <= parse_target(text).port <= 65535
    except ValueError:
        pass


@pytest.mark.parametrize(
    ("address", "safe"),
    [
        ("127.0.0.1", True),
        ("127.255.255.255", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("198.18.0.1", True),
        ("198.19.255.255", True),
        ("198.17.255.255", False),
        ("198.20.0.0", False),
        ("10.0.0.1", False),
        ("192.0.2.1", False),
        ("::2", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1", False),
    ],
)
def test_only_loopback_and_the_benchmark_range_are_safe_without_a_word(
    address: str, safe: bool
) -> None:
    assert allowed(address) is safe


def test_the_user_may_allow_more() -> None:
    extra = [ipaddress.ip_network("10.1.0.0/16")]
    assert allowed("10.1.2.3", extra)
    assert not allowed("10.2.0.1", extra)


@pytest.mark.parametrize("address", ["10.0.0.1", "fd00::1", "::ffff:10.0.0.1"])
def test_a_refusal_names_an_option_that_helps(address: str) -> None:
    """Whatever network the message tells the user to allow does allow the target."""
    line = refusal(Target("cache.example", 1), address)
    assert "cache.example:1" in line
    assert address in line
    assert "\n" not in line
    network = ipaddress.ip_network(line.rpartition("--allow-target ")[2])
    assert allowed(address, [network])


@pytest.mark.parametrize(
    ("plain", "secure"),
    [("h:1", "memcacheds://h:1"), ("redis://h", "rediss://h:6379"), ("tcp://h:1", "tls://h:1"),
     ("https://h", "https://h:443"), ("http://h", "https://h:443"), ("http://h:1", "https://h:1")],
)  # fmt: skip
def test_the_same_target_with_tls(plain: str, secure: str) -> None:
    target = parse_target(plain).secured()
    assert (str(target), target.tls) == (secure, True)
    assert target.protocol == parse_target(plain).protocol
