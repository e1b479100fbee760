"""Tunings as variables of compose.yaml."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lab.compose.variables import VARIABLES, render
from lab.sysctl.tuning import Tuning, TuningError, parse
from lab.tunings import builtin_names, load


def tuned(text: str, name: str = "mine") -> Tuning:
    return parse(text, name=name, source="./mine.conf")


def variables(text: str) -> dict[str, str]:
    """Read an env file as Compose does, as far as ours go."""
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found[name] = value[1:-1] if value[:1] in {"'", '"'} else value
    return found


def both(after: Tuning) -> dict[str, str]:
    return variables(render({"before": load("kernel-default"), "after": after}))


def test_every_variable_of_both_arms_is_there_and_empty_where_nothing_is_set() -> None:
    """Empty means the kernel's own, whatever compose.yaml's default is."""
    found = both(tuned(""))
    names = {"NAME", *VARIABLES, *(f"SYSCTL_{number}" for number in range(1, 5))}
    assert found.keys() == {f"{arm}_{name}" for arm in ("BEFORE", "AFTER") for name in names}
    assert {value for name, value in found.items() if not name.endswith("_NAME")} == {""}
    assert (found["BEFORE_NAME"], found["AFTER_NAME"]) == ("kernel-default", "mine")


def test_known_keys_have_a_variable_and_others_a_free_one() -> None:
    found = both(
        tuned(
            "net.ipv4.ip_local_port_range = 5000 65000\n"
            "net.ipv4.tcp_tw_reuse_delay = 500\nnet.ipv4.tcp_retries2 = 8\n"
        )
    )
    assert found["AFTER_IP_LOCAL_PORT_RANGE"] == "5000 65000"
    assert found["AFTER_SYSCTL_1"] == "net.ipv4.tcp_tw_reuse_delay=500"
    assert found["AFTER_SYSCTL_2"] == "net.ipv4.tcp_retries2=8"
    assert found["AFTER_SYSCTL_3"] == ""


@pytest.mark.parametrize("name", builtin_names())
def test_every_built_in_tuning_can_be_written(name: str) -> None:
    tuning = load(name)
    text = render({"after": tuning})
    found = variables(text)
    for key, value in tuning.values.items():
        known = next((f"AFTER_{v}" for v, k in VARIABLES.items() if k == key), None)
        assert f"left out: {key}" in text or (known and found[known] == value)


def test_lines_of_the_host_are_left_out_with_the_reason() -> None:
    text = render({"after": tuned("net.netfilter.nf_conntrack_max = 9\nfs.file-max = 9\n")})
    assert "# left out: net.netfilter.nf_conntrack_max = 9: the host's, for all containers" in text
    assert "# left out: fs.file-max = 9: the host's" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "net.ipv4.tcp_tw_recycle = 1\n",
            r"mine.conf:1: net.ipv4.tcp_tw_recycle: was removed in 4.12.*delete the line",
        ),
        (
            "".join(f"net.ipv4.key_{number} = 1\n" for number in range(5)),
            r"mine.conf:5: compose.yaml has 4 variables .* these are 5: .*--testbed docker",
        ),
    ],
)
def test_what_no_container_can_have_is_named_with_its_line(text: str, said: str) -> None:
    with pytest.raises(TuningError, match=said):
        render({"after": tuned(text)})


def test_an_old_name_that_may_fail_is_left_out() -> None:
    assert "# left out: net.ipv4.tcp_tw_recycle" in render(
        {"after": tuned("-net.ipv4.tcp_tw_recycle = 1\n")}
    )


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("plain", "AFTER_NAME=plain"),
        ("two words", "AFTER_NAME='two words'"),
        ("$HOME", "AFTER_NAME='$HOME'"),
        ("it's", 'AFTER_NAME="it\'s"'),
        ('it\'s "$x"', 'AFTER_NAME="it\'s \\"\\$x\\""'),
    ],
)
def test_values_are_quoted_where_compose_would_read_them_otherwise(name: str, line: str) -> None:
    assert line in render({"after": tuned("", name)}).splitlines()


def lab(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "lab", "tunings", "env", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_writes_to_stdout_or_a_file(tmp_path: Path) -> None:
    shown = lab("--after", "article", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert variables(shown.stdout)["AFTER_TCP_TW_REUSE"] == "1"
    kept = lab("--after", "article", "--output", "x.env", cwd=tmp_path)
    assert (tmp_path / "x.env").read_text() == shown.stdout
    assert kept.stdout == "written: x.env; use it: docker compose --env-file x.env up\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--after", "no-such"), "no-such"),
        (("--output", "missing/x.env"), "error: cannot write missing/x.env: No such file"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    done = lab(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
