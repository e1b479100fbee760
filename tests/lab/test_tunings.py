"""The built-in tunings, and reading tunings from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.sysctl.catalogue import CATALOGUE
from lab.sysctl.show import render
from lab.sysctl.tuning import TuningError
from lab.tunings import builtin_names, load


def test_the_names_of_the_built_in_tunings() -> None:
    assert builtin_names() == ("kernel-default", "article-before", "article", "recommended")


@pytest.mark.parametrize("name", builtin_names())
def test_a_built_in_tuning_knows_its_keys_and_argues_each(name: str) -> None:
    tuning = load(name)
    assert tuning.name == name
    assert tuning.source == "built-in"
    assert tuning.values.keys() <= CATALOGUE.keys()
    lines = tuning.text.splitlines()
    assert lines[0].startswith(f"# {name}: ")
    for setting in tuning.settings:
        before = lines[setting.line - 2]
        assert before.startswith("#"), f"{setting.key} has no comment"
        assert setting.may_fail or CATALOGUE[setting.key].scope == "namespace"


def test_kernel_default_sets_nothing() -> None:
    assert load("kernel-default").settings == ()


def test_the_article_in_todays_names() -> None:
    tuning = load("article")
    assert tuning.values == {
        "net.ipv4.tcp_tw_reuse": "1",
        "net.ipv4.ip_local_port_range": "5000 65000",
        "net.netfilter.nf_conntrack_max": "524288",
        "net.netfilter.nf_conntrack_buckets": "131072",
    }
    assert any("ip_conntrack_max = 524288" in note for note in tuning.notes)
    assert any("ip_conntrack_buckets = 131072" in note for note in tuning.notes)


def test_a_file_is_a_tuning_named_after_it(tmp_path: Path) -> None:
    path = tmp_path / "90-memcached.conf"
    path.write_text("net.ipv4.tcp_tw_reuse = 1\n")
    tuning = load(str(path))
    assert (tuning.name, tuning.source) == ("90-memcached", str(path))
    assert tuning.values == {"net.ipv4.tcp_tw_reuse": "1"}


def test_a_name_that_ends_in_conf_is_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.conf").write_text("net.core.somaxconn = 1\n")
    monkeypatch.chdir(tmp_path)
    assert load("mine.conf").name == "mine"


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("artcle", "did you mean article?"),
        ("nothing-like-it", "built-in are kernel-default, article-before, article, recommended"),
        ("", "built-in are"),
        ("./missing.conf", "No such file or directory"),
        ("missing.conf", "No such file or directory"),
        ("/", "Is a directory"),
    ],
)
def test_what_is_not_there_is_one_clear_line(wanted: str, says: str) -> None:
    with pytest.raises(TuningError) as caught:
        load(wanted)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"a.b = 1\n\xff\xfe", ":2: byte 0xFF is not UTF-8"), (b"#" * (2 << 20), "more than 1 MiB")],
    ids=["binary", "huge"],
)
def test_a_file_that_is_no_sysctl_file(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "x.conf"
    path.write_bytes(content)
    with pytest.raises(TuningError, match=says):
        load(str(path))


def test_show_has_the_file_the_mapping_and_the_flags() -> None:
    text = render(load("article"), {"net.netfilter.nf_conntrack_buckets": "262144"})
    assert load("article").text.rstrip() in text
    assert (
        "net.ipv4.netfilter.ip_conntrack_max = 524288      ->  "
        "net.netfilter.nf_conntrack_max = 524288" in text
    )
    assert "halves this host's 262144 buckets" in text


def test_show_compares_with_no_host_when_it_has_none() -> None:
    assert "Flags" not in render(load("article"))


def test_show_tells_of_keys_outside_the_catalogue(tmp_path: Path) -> None:
    path = tmp_path / "web.conf"
    path.write_text(
        "vm.swappiness = 10\nnet.ipv4.tcp_tw_recycle = 1\nnet.ipv4.ip_forward = 1\n"
        "net.core.somaxconn = 1\nnet.core.somaxconn = 2\n"
    )
    text = render(load(str(path)), {})
    assert "outside net.*: the lab leaves it as it is" in text
    assert "was removed in 4.12" in text
    assert "applied as it stands" in text
    assert "line 5: net.core.somaxconn: replaces '1' of line 4" in text
    assert text.endswith("none\n")
