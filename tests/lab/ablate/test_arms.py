"""Which arms an ablation takes, and the correction for many comparisons."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.ablate.arms import contrasts, holm, plan_arms, short_names, trials_needed, tuning_of
from lab.ablate.records import ALL, NONE, TuningLine
from lab.analysis.stats import ALPHA, reachable
from lab.sysctl.tuning import parse

TWO = ("net.ipv4.tcp_tw_reuse", "net.ipv4.ip_local_port_range")
_keys = st.lists(st.sampled_from([f"net.ipv4.k{n}" for n in range(12)]), unique=True, max_size=12)


def line(key: str, without: str | None = None, alone: str | None = None) -> TuningLine:
    return TuningLine(key=key, value="1", number=1, state="active", reason="0", without=without,
                alone=alone)  # fmt: skip


def test_two_lines_take_four_arms() -> None:
    """All but the one is the other alone: run once, it answers both questions."""
    arms, questions = plan_arms(TWO)
    assert list(arms) == [NONE, ALL, "only-tcp_tw_reuse", "without-tcp_tw_reuse"]
    assert questions == {
        TWO[0]: ("without-tcp_tw_reuse", "only-tcp_tw_reuse"),
        TWO[1]: ("only-tcp_tw_reuse", "without-tcp_tw_reuse"),
    }


def test_one_line_takes_two_arms_and_three_take_eight() -> None:
    arms, questions = plan_arms(["a.x"])
    assert arms == {NONE: (), ALL: ("a.x",)}
    assert questions == {"a.x": (NONE, ALL)}
    assert len(plan_arms(["a.x", "a.y", "a.z"])[0]) == 8


@given(_keys, st.data())
def test_every_question_has_its_arms(keys: list[str], data: st.DataObject) -> None:
    weighed = data.draw(st.lists(st.sampled_from(keys), unique=True) if keys else st.just([]))
    arms, questions = plan_arms(keys, weighed)
    assert list(questions) == weighed
    assert len(set(arms.values())) == len(arms) or not keys
    for key, (without, alone) in questions.items():
        assert set(arms[without]) == set(keys) - {key}
        assert arms[alone] == (key,)
    assert len(arms) <= 2 + 2 * len(weighed)


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        (["net.ipv4.tcp_tw_reuse"], ["tcp_tw_reuse"]),
        (["net.ipv4.conf.all.x", "net.ipv4.conf.default.x"],
         ["net-ipv4-conf-all-x", "net-ipv4-conf-default-x"]),
        (["net.ipv4.conf.eth0/100.rp_filter"], ["rp_filter"]),
    ],
)  # fmt: skip
def test_names_are_fit_for_folders(keys: list[str], names: list[str]) -> None:
    assert list(short_names(keys).values()) == names


def test_an_arm_has_its_lines_in_the_files_order() -> None:
    text = "a.x = 1\n#: old.y = 2\na.y = 2\nvm.z = 3\na.w = 4\n"
    tuning = parse(text, name="mine", source="./mine.conf")
    part = tuning_of(tuning, "without-y", ["a.w", "a.x"])
    assert part.name == "without-y"
    assert list(part.values.items()) == [("a.x", "1"), ("a.w", "4")]
    assert tuning_of(tuning, ALL, ["a.x", "a.y", "a.w"]) is tuning
    assert tuning_of(tuning, NONE, []).settings == ()


def test_what_is_compared_with_what() -> None:
    lines = [
        line("a.x", "only-y", "only-x"),
        line("a.y", "only-x", "only-y"),
        line("a.z", None, "only-z"),
        line("a.w"),
        line("a.v", NONE, ALL),
    ]
    assert contrasts(lines) == [
        ("only-y", ALL), ("only-x", NONE), ("only-x", ALL), ("only-y", NONE), ("only-z", NONE),
        (NONE, ALL), (ALL, NONE),
    ]  # fmt: skip


@pytest.mark.parametrize(("comparisons", "trials"), [(0, 6), (1, 6), (4, 6), (23, 6), (24, 7)])
def test_the_trials_that_so_many_comparisons_take(comparisons: int, trials: int) -> None:
    assert trials_needed(comparisons) == trials
    assert reachable(trials, trials, ALPHA / max(1, comparisons))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([0.01], [0.01]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.02, 0.02], [0.04, 0.04]),
    ],
)
def test_holms_correction(values: list[float], expected: list[float]) -> None:
    pairs = {(str(n), "x"): p for n, p in enumerate(values)}
    assert [holm(pairs)[pair] for pair in pairs] == pytest.approx(expected)


@given(st.lists(st.floats(0, 1), max_size=12))
def test_the_correction_only_ever_raises_p_and_keeps_its_order(values: list[float]) -> None:
    pairs = {(str(n), "x"): p for n, p in enumerate(values)}
    corrected = holm(pairs)
    for pair, p in pairs.items():
        assert p <= corrected[pair] <= 1
    by_p = sorted(pairs, key=lambda pair: pairs[pair])
    assert [corrected[pair] for pair in by_p] == sorted(corrected.values())
