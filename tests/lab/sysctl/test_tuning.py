"""Parsing sysctl.d files as systemd-sysctl and procps do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.sysctl.names import to_key, to_path
from lab.sysctl.tuning import Setting, Tuning, TuningError, canonical_key, parse, to_text


def read(text: str) -> Tuning:
    return parse(text, name="mine", source="./mine.conf")


def only(text: str) -> tuple[str, str, bool]:
    """The one setting of a text, as key, value, may_fail."""
    (setting,) = read(text).settings
    return setting.key, setting.value, setting.may_fail


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("net.ipv4.tcp_tw_reuse = 1", ("net.ipv4.tcp_tw_reuse", "1", False)),
        ("net.ipv4.tcp_tw_reuse=1", ("net.ipv4.tcp_tw_reuse", "1", False)),
        ("  \tnet.ipv4.tcp_tw_reuse\t=\t1  ", ("net.ipv4.tcp_tw_reuse", "1", False)),
        ("net.ipv4.tcp_tw_reuse = 1\r", ("net.ipv4.tcp_tw_reuse", "1", False)),
        ("-net.ipv4.tcp_tw_reuse = 1", ("net.ipv4.tcp_tw_reuse", "1", True)),
        ("- net.ipv4.tcp_tw_reuse = 1", ("net.ipv4.tcp_tw_reuse", "1", True)),
        ("net/ipv4/tcp_tw_reuse = 1", ("net.ipv4.tcp_tw_reuse", "1", False)),
        ("/net/ipv4/tcp_tw_reuse = 1", ("net.ipv4.tcp_tw_reuse", "1", False)),
        ("a.b = 5000\t 65000", ("a.b", "5000 65000", False)),
        ("a.b =", ("a.b", "", False)),
        ("a.b = x=y", ("a.b", "x=y", False)),
        ("kernel.domainname = example.com", ("kernel.domainname", "example.com", False)),
        ("net/ipv4/conf/eth0.100/x = 1", ("net.ipv4.conf.eth0/100.x", "1", False)),
        ("net.ipv4.conf.eth0/100.x = 1", ("net.ipv4.conf.eth0/100.x", "1", False)),
        ('a.b = "1"', ("a.b", '"1"', False)),
    ],
)
def test_an_assignment(line: str, expected: tuple[str, str, bool]) -> None:
    assert only(line) == expected


@pytest.mark.parametrize("line", ["", "   ", "# a.b = 1", "; a.b = 1", "  # x", "#", "#: old = 1"])
def test_lines_that_set_nothing(line: str) -> None:
    assert read(line).settings == ()


@pytest.mark.parametrize(
    ("line", "offender", "remedy"),
    [
        ("net.ipv4.tcp_tw_reuse 1", "no '='", "write key = value"),
        ("garbage", "no '='", "write key = value"),
        ("= 1", "no key", "write key = value"),
        ("-= 1", "no key", "write key = value"),
        ("net.ipv4.tcp_?_reuse = 1", "glob", "one line for each key"),
        ("net.ipv4.* = 1", "glob", "one line for each key"),
        ("net.ipv4.conf.*.* = 1", "glob", "one line for each key"),
        ("net.*.conf.all.rp_filter = 1", "glob", "one line for each key"),
        ("-net.ipv4.tcp_tw_reuse", "exclusion", "delete the line"),
        ("net/../vm/swappiness = 1", "'..'", "write it as a.b.c"),
        ("net.//.vm = 1", "'..'", "write it as a.b.c"),
        ("net..ipv4 = 1", "empty part", "write it as a.b.c"),
        ("net.ipv4. = 1", "empty part", "write it as a.b.c"),
        ("/proc/sys/net/ipv4/tcp_tw_reuse = 1", "relative to /proc/sys", "omit that part"),
        ("sysctl -w net.ipv4.tcp_tw_reuse=1", "shell command", "keep only key = value"),
        ("net.ipv4 tcp = 1", "blank", "write key = value"),
        ("net.ipv4.tcp_tw_reuse\u00a0= 1", "U+00A0", "type the key anew"),
        ("net.ipv4.tcp_tw_reuse = \u00a01", "U+00A0", "type the line anew"),
        ("a.b = 1\x00", "U+0000", "type the line anew"),
    ],
)
def test_a_line_that_is_refused_names_file_line_offender_and_remedy(
    line: str, offender: str, remedy: str
) -> None:
    with pytest.raises(TuningError) as caught:
        read(f"# first\na.x = 1\n{line}\n")
    message = str(caught.value)
    assert message.startswith("./mine.conf:3: ")
    assert offender in message
    assert remedy in message
    assert "\n" not in message


def test_every_bad_line_is_reported_and_the_message_stays_one_line() -> None:
    with pytest.raises(TuningError) as caught:
        read("one\na.b = 1\ntwo\nthree\n")
    assert [problem.split(":")[1] for problem in caught.value.problems] == ["1", "3", "4"]
    assert str(caught.value).endswith("(and 2 more such lines)")


def test_the_last_assignment_wins_and_takes_the_last_place() -> None:
    tuning = read("a.x = 1\na.y = 2\na/x = 3\n")
    assert [(one.key, one.value, one.line) for one in tuning.settings] == [
        ("a.y", "2", 2),
        ("a.x", "3", 3),
    ]
    assert tuning.notes == ("line 3: a.x: replaces '1' of line 1",)


def test_a_repeated_line_keeps_its_place_and_the_laxer_prefix() -> None:
    """As systemd-sysctl does."""
    tuning = read("a.x = 1\na.y = 2\n-a.x = 1\n")
    assert tuning.settings == (
        Setting("a.x", "1", 1, may_fail=True),
        Setting("a.y", "2", 2, may_fail=False),
    )
    assert tuning.notes == ("line 3: a.x: repeats line 1",)


@pytest.mark.parametrize(
    ("line", "value", "noted"),
    [
        ("net.ipv4.tcp_tw_reuse = 1 # fast", "1", True),
        ("net.ipv4.tcp_tw_reuse = 1 ; fast", "1", True),
        ("net.ipv4.ip_local_port_range = 5000 65000   # wide", "5000 65000", True),
        # The kernel's number parser wants a blank; its list and name parsers take no comment at all.
        ("-net.ipv4.tcp_tw_reuse = 1#fast", "1#fast", False),
        ("-net.ipv4.ip_local_reserved_ports = 11211 # memcached", "11211 # memcached", False),
        ("net.ipv4.tcp_congestion_control = bbr # new", "bbr # new", False),
    ],
)
def test_a_comment_after_a_value_is_what_the_kernel_makes_of_it(
    line: str, value: str, noted: bool
) -> None:
    tuning = read(line)
    assert tuning.settings[0].value == value
    assert any("no comments after a value" in note for note in tuning.notes) is noted


@pytest.mark.parametrize(
    ("line", "today"),
    [
        ("net.ipv4.netfilter.ip_conntrack_max = 1", "net.netfilter.nf_conntrack_max"),
        ("net.ipv4.netfilter.ip_conntrack_buckets = 1", "net.netfilter.nf_conntrack_buckets"),
        (
            "net.ipv4.netfilter.ip_conntrack_tcp_timeout_time_wait = 1",
            "net.netfilter.nf_conntrack_tcp_timeout_time_wait",
        ),
        ("net.ipv4.tcp_tw_recycle = 1", "removed in 4.12"),
    ],
)
def test_an_old_name_is_noted_with_what_it_became(line: str, today: str) -> None:
    (note,) = read(line).notes
    assert note.startswith("line 1: ")
    assert today in note


def test_a_line_keeps_the_advice_that_it_stands_for() -> None:
    tuning = read("#: net.old = 5\n# why\nnet.new = 5\nnet.other = 1\n")
    assert [one.was for one in tuning.settings] == ["net.old = 5", ""]
    assert tuning.notes == ("line 3: net.new = 5 stands for 'net.old = 5'",)


def test_a_glob_over_devices_is_read_as_distributions_write_it() -> None:
    """It is left out when the tuning is applied; see test_apply."""
    tuning = read(
        "net.ipv4.conf.*.rp_filter = 2\n-net.ipv4.conf.all.rp_filter\nnet/ipv6/neigh/*/gc_stale = 5\n"
    )
    assert tuning.values == {"net.ipv4.conf.*.rp_filter": "2", "net.ipv6.neigh.*.gc_stale": "5"}
    assert tuning.notes == (
        "line 2: net.ipv4.conf.all.rp_filter: exclusion from a glob, which is left out itself",
    )


def test_advice_in_the_same_words_needs_no_note() -> None:
    assert read("#: net.new = 5\nnet.new = 5\n").notes == ()


_part = st.from_regex(r"[a-z][a-z0-9_-]{0,8}(\.[0-9]{1,4})?", fullmatch=True)
_words = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=6).filter(
    lambda word: word[0] not in "#;"
)
_settings = st.lists(
    st.builds(
        lambda parts, words, may_fail, was: Setting(
            to_key("/".join(parts)), " ".join(words), 0, may_fail, was
        ),
        st.lists(_part, min_size=2, max_size=5).filter(lambda parts: parts[0].find(".") < 0),
        st.lists(_words, max_size=3),
        st.booleans(),
        st.sampled_from(["", "old.key = 1"]),
    ),
    unique_by=lambda setting: setting.key,
    max_size=6,
)


@given(_settings)
def test_what_is_written_is_read_back(settings: list[Setting]) -> None:
    tuning = read(to_text(settings, header="a header\n\nof three lines"))
    assert [(one.key, one.value, one.may_fail, one.was) for one in tuning.settings] == [
        (one.key, one.value, one.may_fail, one.was) for one in settings
    ]


@given(st.lists(_part, min_size=2, max_size=5).filter(lambda parts: "." not in parts[0]))
def test_both_ways_of_writing_a_key_are_one(parts: list[str]) -> None:
    path = "/".join(parts)
    assert canonical_key(path) == canonical_key(to_key(path)) == to_key(path)
    assert to_path(canonical_key(path)) == path


@given(st.text(max_size=200))
def test_any_text_is_a_tuning_or_a_clear_line(text: str) -> None:
    try:
        tuning = read(text)
        problems: tuple[str, ...] = ()
    except TuningError as error:
        tuning = read("")
        problems = error.problems
    assert all(problem.startswith("./mine.conf:") for problem in problems)
    assert not any("\n" in problem for problem in problems)
    assert len(tuning.values) == len(tuning.settings)
    assert not any(".." in to_path(key).split("/") for key in tuning.values)
