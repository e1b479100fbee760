"""What each line is worth: the table of roles, and worlds in which the answer is known."""

from __future__ import annotations

import msgspec
import pytest

from lab.ablate.records import ALL, NONE, Ablation, Contrast, LineRole, TuningLine
from lab.ablate.render import PLOT, WORDS, ablation_sheet, summary_line
from lab.ablate.weigh import role_of
from lab.report import sheet
from loadgen.summary import Environment, MetricRange, Summary
from tests.lab.ablate.worlds import ablation, lines_of, summary

REUSE, RANGE, TIMEOUT, BUCKETS = (
    "net.ipv4.tcp_tw_reuse", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_max_tw_buckets",
)  # fmt: skip
CLEAN = [0.0] * 6


def losing(share: float) -> list[float]:
    return [share + n / 1_000 for n in range(6)]


def contrast(effect: float, *, significant: bool = True) -> Contrast:
    p = 0.002 if significant else 0.5
    return Contrast(arm="a", against="b", p=p, adjusted=p, effect=effect, significant=significant)


NOTHING = contrast(0.0, significant=False)
WORSE, BETTER = contrast(1.0), contrast(-1.0)


@pytest.mark.parametrize(
    ("without", "alone", "clean", "role"),
    [
        (WORSE, BETTER, True, "does_the_work"),
        (WORSE, BETTER, False, "needed"),
        (WORSE, NOTHING, False, "needed"),
        (WORSE, NOTHING, True, "needed"),
        (NOTHING, BETTER, True, "enough"),
        (NOTHING, BETTER, False, "helps"),
        (NOTHING, NOTHING, True, "no_effect"),
        (BETTER, NOTHING, False, "harmful"),
        (NOTHING, WORSE, False, "harmful"),
        (WORSE, WORSE, False, "mixed"),
        (BETTER, BETTER, False, "mixed"),
        (WORSE, None, False, "needed"),
        (None, BETTER, True, "enough"),
        (None, NOTHING, False, "no_effect"),
        (None, None, False, "inconclusive"),
    ],
)
def test_the_role_of_a_line(
    without: Contrast | None, alone: Contrast | None, clean: bool, role: LineRole
) -> None:
    assert role_of(without, alone, alone_is_clean=clean) == role


def roles(found: Ablation) -> dict[str, str]:
    return {weight.line.key.rpartition(".")[2]: weight.role for weight in found.weights}


def test_a_tuning_of_which_both_lines_are_needed() -> None:
    """As the article's at 20,000/s: the range moves the collapse, reuse lowers it, both end it."""
    lines = lines_of([REUSE, RANGE])
    found = ablation(
        lines,
        {
            NONE: losing(0.83),
            ALL: CLEAN,
            "only-tcp_tw_reuse": losing(0.29),
            "without-tcp_tw_reuse": losing(0.69),
        },
    )
    assert roles(found) == {"tcp_tw_reuse": "needed", "ip_local_port_range": "needed"}
    assert found.verdict == "prevents"
    assert summary_line(found) == (
        "At 20,000/s, of mine: tcp_tw_reuse and ip_local_port_range are needed."
    )
    weight = found.weights[0]
    assert weight.without is not None
    assert weight.without.adjusted == pytest.approx(4 * 2 / 924)
    assert weight.says == (
        "without it 69.2% lost, the first after 308 ms, with all lines nothing lost (p = 0.0087); "
        "alone 29.2% lost, the first after 708 ms, with no line 83.2% lost, the first after 168 ms "
        "(p = 0.0087)"
    )


def test_a_tuning_of_which_one_line_does_it_all() -> None:
    """As the article's at a rate that the default range carries with reuse."""
    lines = lines_of([REUSE, TIMEOUT])
    found = ablation(
        lines,
        {
            NONE: losing(0.5),
            ALL: CLEAN,
            "only-tcp_tw_reuse": CLEAN,
            "without-tcp_tw_reuse": losing(0.5),
        },
    )
    assert roles(found) == {"tcp_tw_reuse": "does_the_work", "tcp_fin_timeout": "no_effect"}
    assert "tcp_tw_reuse does the work: needed, and enough alone" in summary_line(found)
    assert "tcp_fin_timeout has no detectable effect" in summary_line(found)


def test_a_single_line_is_the_whole_tuning() -> None:
    found = ablation(lines_of([REUSE]), {NONE: losing(0.5), ALL: CLEAN})
    assert roles(found) == {"tcp_tw_reuse": "does_the_work"}


def test_a_line_that_makes_it_worse_is_named() -> None:
    found = ablation(
        lines_of([REUSE, RANGE]),
        {
            NONE: CLEAN,
            ALL: losing(0.3),
            "only-tcp_tw_reuse": CLEAN,
            "without-tcp_tw_reuse": losing(0.6),
        },
    )
    assert roles(found) == {"tcp_tw_reuse": "needed", "ip_local_port_range": "harmful"}
    assert found.verdict == "worse"


def test_too_few_trials_decide_nothing_and_say_how_many_would() -> None:
    found = ablation(
        lines_of([REUSE, TIMEOUT]),
        {
            NONE: losing(0.5)[:3],
            ALL: CLEAN[:3],
            "only-tcp_tw_reuse": CLEAN[:3],
            "without-tcp_tw_reuse": losing(0.5)[:3],
        },
    )
    assert set(roles(found).values()) == {"inconclusive"}
    assert found.verdict == "inconclusive"
    (warning,) = found.warnings
    assert warning == (
        "4 of 4 comparisons could not be decided: need >= 6 trials of each arm, and the smallest "
        "has 3"
    )


def test_spoiled_trials_are_no_evidence() -> None:
    spoiled = [summary(0.5, validity="generator_limited")] * 6
    found = ablation(
        lines_of([REUSE, RANGE]),
        {NONE: losing(0.8), ALL: spoiled, "only-tcp_tw_reuse": losing(0.3),
         "without-tcp_tw_reuse": losing(0.7)},
    )  # fmt: skip
    assert found.verdict == "generator_limited"
    assert [arm.limited for arm in found.arms] == [0, 6, 0, 0]
    # What was measured still counts: each line alone against none.
    assert roles(found) == {"tcp_tw_reuse": "helps", "ip_local_port_range": "helps"}
    assert (
        "with all lines not measured (6 trials spoiled by the generator; they served 500/s in the "
        "median, which counts for nothing)"
    ) in found.weights[0].says
    assert len(found.repetitions) == 6


def test_a_line_that_another_needs_is_needed() -> None:
    lines = lines_of([REUSE, RANGE])
    first = msgspec.structs.replace(lines.lines[0], without=None, unfit="line 2 cannot hold")
    found = ablation(
        msgspec.structs.replace(lines, lines=[first, lines.lines[1]]),
        {NONE: CLEAN, ALL: CLEAN, "only-tcp_tw_reuse": CLEAN, "without-tcp_tw_reuse": CLEAN},
    )
    assert roles(found)["tcp_tw_reuse"] == "needed"
    assert "another line needs it: line 2 cannot hold" in found.weights[0].says


IDLE = [
    TuningLine(key="net.netfilter.nf_conntrack_max", value="524288", number=7, state="out_of_scope",
         reason="belongs to the host"),
    TuningLine(key="net.netfilter.nf_conntrack_buckets", value="131072", number=8, state="out_of_scope",
         reason="belongs to the host"),
    TuningLine(key="net.core.somaxconn", value="4096", number=9, state="inert",
         reason="the value that a fresh namespace has anyway"),
]  # fmt: skip


def test_what_the_table_held_tells_about_lines_that_cannot_be_set() -> None:
    """28,232 ports cannot fill a table of 262,144; so a larger one does nothing for one client."""
    full = [summary(0.5, entries=28_232)] * 6
    found = ablation(lines_of([REUSE], IDLE, tracked=True), {NONE: full, ALL: CLEAN})
    says = {weight.line.key.rpartition(".")[2]: weight.says for weight in found.weights}
    assert says["nf_conntrack_max"] == (
        "the table held at most 28,232 of its 262,144 entries, so a larger limit changes nothing; "
        "belongs to the host"
    )
    assert says["nf_conntrack_buckets"] == (
        "with at most 28,232 entries a bucket holds 0.22 nodes, and 0.43 with 131,072 buckets; "
        "belongs to the host"
    )
    assert says["somaxconn"] == "the value that a fresh namespace has anyway"
    assert roles(found)["somaxconn"] == "inert"
    assert roles(found)["nf_conntrack_max"] == "idle"
    assert roles(found)["nf_conntrack_buckets"] == "idle"
    assert "nf_conntrack_max and nf_conntrack_buckets do nothing at this load" in summary_line(
        found
    )


def test_a_table_that_was_full_is_not_said_to_be_large_enough() -> None:
    full = [summary(0.5, entries=262_144)] * 6
    found = ablation(lines_of([REUSE], IDLE, tracked=True), {NONE: full, ALL: CLEAN})
    assert found.weights[1].says == "belongs to the host"
    assert roles(found)["nf_conntrack_max"] == "out_of_scope"
    assert roles(found)["nf_conntrack_buckets"] == "out_of_scope"  # 2 nodes a bucket, 4 with half


def test_without_tracking_nothing_is_said_of_the_table() -> None:
    seen = [summary(0.5, entries=12)] * 6
    found = ablation(lines_of([REUSE], IDLE), {NONE: seen, ALL: CLEAN})
    assert found.weights[1].says == "belongs to the host"
    assert found.arms[0].entries is None


def test_an_ablation_is_json_text_markdown_and_page() -> None:
    lines = lines_of([REUSE, RANGE], IDLE)
    losses = {NONE: losing(0.83), ALL: CLEAN, "only-tcp_tw_reuse": losing(0.29),
              "without-tcp_tw_reuse": losing(0.69)}  # fmt: skip
    found = ablation(lines, losses)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Ablation) == found
    trials = {arm: [summary(share) for share in shares] for arm, shares in losses.items()}
    report = ablation_sheet(found, trials, Environment(kernel="<6.18>"))
    assert max(map(len, sheet.text(report).splitlines())) <= 100
    assert "| needed | 69.2% | 0.0087 | 29.2% | 0.0087 |" in sheet.markdown(report)
    assert f"]({PLOT})" in sheet.markdown(report)
    page = sheet.page(report)
    assert page.count("<title>") == 1 + 6 * 4 + 4  # the page's, each trial's, each median's
    assert "<6.18>" not in page


def test_an_interrupted_ablation_says_so() -> None:
    found = ablation(lines_of([REUSE]), {NONE: losing(0.5), ALL: []}, finished=False)
    assert roles(found) == {"tcp_tw_reuse": "inconclusive"}
    assert ablation_sheet(found, {}, Environment()).sentence.startswith("Interrupted. ")


def test_every_role_has_its_words() -> None:
    assert set(WORDS) == set(LineRole.__args__)  # type: ignore[attr-defined]


def destroying(lost: float) -> Summary:
    """A run in which TIME_WAIT was given up."""
    found = summary(lost)
    moved = MetricRange(first=0, last=400, min=0, max=400, delta=400)
    kernel = {"client": {"netstat_TcpExt_TCPTimeWaitOverflow": moved}}
    return msgspec.structs.replace(found, kernel=kernel)


def test_a_line_that_hides_the_failures_does_no_work() -> None:
    lines = lines_of([REUSE, BUCKETS])
    found = ablation(
        lines,
        {
            NONE: losing(0.5),
            ALL: [destroying(0.0)] * 6,
            "only-tcp_tw_reuse": losing(0.5),
            "without-tcp_tw_reuse": [destroying(0.0)] * 6,
        },
    )
    assert roles(found) == {"tcp_tw_reuse": "no_effect", "tcp_max_tw_buckets": "hides"}
    assert found.verdict == "hides"
    assert "tcp_max_tw_buckets hides the failures" in summary_line(found)


def test_lines_that_nobody_asked_about_are_not_listed() -> None:
    lines = lines_of([REUSE, TIMEOUT])
    only = [msgspec.structs.replace(one, asked=one.key == REUSE) for one in lines.lines]
    found = ablation(
        msgspec.structs.replace(lines, lines=only),
        {NONE: losing(0.5), ALL: CLEAN, "only-tcp_tw_reuse": CLEAN},
    )
    assert list(roles(found)) == ["tcp_tw_reuse"]
    assert "tcp_fin_timeout" not in summary_line(found)
