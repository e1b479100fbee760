"""What makes an arm's losses look smaller than they are, found in the counters of its trials."""

import random
from typing import Any

import msgspec
import pytest

from lab.analysis.compare import ArmTrials, compare
from lab.analysis.flattery import resets, signs, unexercised
from loadgen.summary import MetricRange, Summary
from tests.loadgen.synthetic import Plan, write_run


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    summary = write_run(tmp_path_factory.mktemp("clean") / "run", Plan(collapse=False), seed=1)
    return msgspec.structs.replace(summary, causes=[], explanations=[])


def counting(summary: Summary, role: str, metric: str, delta: int) -> Summary:
    moved = MetricRange(first=0, last=delta, min=0, max=delta, delta=delta)
    roles = {**summary.kernel, role: {**summary.kernel.get(role, {}), metric: moved}}
    return msgspec.structs.replace(summary, kernel=roles)


def configured(summary: Summary, **options: Any) -> Summary:
    return msgspec.structs.replace(
        summary, config=msgspec.structs.replace(summary.config, **options)
    )


def losing(summary: Summary, share: float) -> Summary:
    dropped = int(summary.scheduled * share)
    return msgspec.structs.replace(summary, dropped=dropped, ok=summary.scheduled - dropped)


@pytest.mark.parametrize(
    ("role", "metric", "name"),
    [
        ("client", "netstat_TcpExt_TCPTimeWaitOverflow", "time_wait_destroyed"),
        ("server", "netstat_TcpExt_TCPTimeWaitOverflow", "time_wait_destroyed"),
        ("proxy", "netstat_TcpExt_TCPTimeWaitOverflow", "time_wait_destroyed"),
        ("client", "netstat_TcpExt_TCPAbortOnMemory", "aborted_for_memory"),
        ("nat", "nf_conntrack_stat_early_drop", "entries_evicted"),
    ],
)
def test_each_counter_is_a_sign_and_turns_prevents_into_hides(
    clean: Summary, role: str, metric: str, name: str
) -> None:
    after = [counting(clean, role, metric, number) for number in (400, 0, 500, 600, 0)]
    [sign] = signs(after)
    assert sign.name == name
    assert "500" in sign.text, "the median of the trials in which it moved"
    assert role in sign.text
    dice = random.Random(1)
    before = [losing(clean, dice.uniform(0.3, 0.5)) for _ in range(5)]
    found = compare(
        "x", ArmTrials("before", "a", tuple(before)), ArmTrials("after", "b", tuple(after))
    )
    assert found.verdict == "hides"
    assert "does not prevent them: its successes rest on" in found.sentence
    honest = compare(
        "x", ArmTrials("before", "a", tuple(before)), ArmTrials("after", "b", (clean,) * 5)
    )
    assert honest.verdict == "prevents"


def test_a_counter_at_rest_is_no_sign(clean: Summary) -> None:
    assert signs([counting(clean, "client", "netstat_TcpExt_TCPTimeWaitOverflow", 0)]) == ()
    assert signs([]) == ()


def test_why_a_load_exercises_less_than_it_seems(clean: Summary) -> None:
    reset = [configured(clean, close="rst")] * 2
    assert resets(reset)
    assert not resets([*reset, clean])
    assert not resets([])
    assert "RST" in unexercised(reset)[0]
    assert "server closed first" in unexercised([configured(clean, close="server")])[0]
    home = configured(clean, addresses=[["127.0.0.1", 11211]])
    assert "loopback" in unexercised([home])[0]
    assert "loopback" in unexercised([configured(clean, addresses=[["::1", 11211]])])[0]
    assert unexercised([clean, *reset]) == ()


def test_equal_clean_arms_put_nothing_to_the_test(clean: Summary) -> None:
    arms = ArmTrials("before", "a", (clean,) * 5), ArmTrials("after", "b", (clean,) * 5)
    assert compare("x", *arms).verdict == "not_exercised"
    assert compare("x", *arms, claim=False).verdict == "no_effect"
