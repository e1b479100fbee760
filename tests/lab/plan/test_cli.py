"""`lab plan` as users and programs meet it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lab.sysctl.tuning import parse

LAB = [sys.executable, "-W", "error", "-m", "lab"]


def lab(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*LAB, *arguments], capture_output=True, text=True, check=False, cwd=cwd)


@pytest.mark.kernel
def test_a_plan_is_written_and_says_how_to_prove_it(tmp_path: Path) -> None:
    done = lab("plan", "--rate", "20000", "--output", "90-churn.conf", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == (
        "written: 90-churn.conf; prove it: lab run --after ./90-churn.conf --rate 20000"
    )
    text = (tmp_path / "90-churn.conf").read_text()
    assert parse(text, name="x", source="x").values["net.ipv4.tcp_tw_reuse"] == "1"


@pytest.mark.kernel
def test_json_on_stdout_is_json_alone() -> None:
    done = lab("plan", "--rate", "100", "--json", "-")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["schema"] == "churnlab.plan/1"
    assert plan["lines"] == []
    assert plan["now"]["sustainable_rate"] > 100


@pytest.mark.kernel
def test_the_file_on_stdout_is_the_file_alone() -> None:
    done = lab("plan", "--rate", "7000", "--output", "-")
    assert parse(done.stdout, name="x", source="x").values == {"net.ipv4.tcp_tw_reuse": "1"}


@pytest.mark.kernel
def test_a_rate_that_no_setting_holds_is_exit_code_99() -> None:
    done = lab("plan", "--rate", "20000", "--bind-early")
    assert done.returncode == 99, done.stderr
    assert "With that it does not hold 20,000/s" in done.stdout


@pytest.mark.kernel
def test_recommended_holds_the_rate_that_it_is_asked_for() -> None:
    done = lab("plan", "--rate", "20000", "--tuning", "recommended", "--json", "-")
    assert json.loads(done.stdout)["now"]["limits"] == []


@pytest.mark.kernel
def test_this_host_is_planned_for_as_it_is() -> None:
    done = lab("plan", "--rate", "20", "--tuning", "this-host")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("this-host at 20/s")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rate", "max"], "'--rate': max: a plan needs a number"),
        (["--rate", "0"], "a rate is above 0"),
        ([], "give --rate, or --from a recording"),
        (["--rate", "5", "--tuning", "articel"], "did you mean article?"),
        (["--rate", "5", "--tuning", "./none.conf"], "No such file"),
        (["--rate", "5", "--output", "-", "--json", "-"], "cannot both be standard output"),
        (["--rate", "5", "--output", "/none/x.conf", "--json", "-"], "cannot write /none/x.conf"),
        (["--rate", "5", "--clients", "0"], "0 is not in the range"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: list[str], says: str) -> None:
    done = lab("plan", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.kernel
def test_a_tuning_that_no_kernel_would_take_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.conf").write_text("net.ipv4.ip_local_port_range = 6000 5000\n")
    done = lab("plan", "--rate", "5", "--tuning", "./bad.conf", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "error: ./bad.conf:1: net.ipv4.ip_local_port_range = 6000 5000: is no range of ports; write "
        "the first and the last, 1 to 65535, or put '-' before the key to run without it\n"
    )


def planned(kernel: str, *more: str) -> dict[str, object]:
    """The plan for another kernel: no namespace is made, nothing of this one is read."""
    done = lab(
        "plan", "--rate", "20000", "--kernel", kernel, "--memory", "4G", *more, "--json", "-"
    )
    assert done.returncode in {0, 99}, done.stderr
    plan: dict[str, object] = json.loads(done.stdout)
    return plan


def differing(older: str, newer: str) -> set[str]:
    """The parts of two kernels' plans that are not the same."""
    one, other = planned(older), planned(newer)
    return {key for key in one if one[key] != other[key]}


def test_plans_differ_where_the_kernels_do() -> None:
    """5.10 and 7.2: conntrack's hash (5.15), reuse by whole seconds (6.14), the socket's own range."""
    assert differing("5.10", "7.2") == {
        "kernel", "now", "then", "bytes_now", "bytes_then", "program", "notes",
    }  # fmt: skip
    old, new = planned("5.10"), planned("7.2")
    assert old["lines"] == new["lines"]
    assert "before 6.14 a port that is reused" in str(old["notes"])
    assert "IP_LOCAL_PORT_RANGE" not in str(old["program"])
    assert "IP_LOCAL_PORT_RANGE" in str(new["program"])


def test_plans_are_the_same_where_nothing_changed() -> None:
    assert differing("6.14", "6.18") == {"kernel"}
    assert differing("5.18", "6.1") == {"kernel"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--kernel", "five"), "'five' is no kernel version"),
        (("--kernel", "5.10", "--memory", "4"), "'4' is no size of memory"),
        (("--memory", "4G"), "give --kernel too"),
        (("--kernel", "5.10", "--tuning", "this-host"), "that is of the kernel here"),
        (("--kernel", "5.10", "--tuning", "recommended"), "that is of the kernel here"),
    ],
)
def test_a_kernel_that_cannot_be_planned_for(arguments: tuple[str, ...], said: str) -> None:
    done = lab("plan", "--rate", "20000", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
