"""Moments that are marked in the charts over time."""

import msgspec

from loadgen.report.page.figures import Course
from loadgen.report.page.marks import END, markers
from loadgen.run.conclude import Ended, conclude
from tests.loadgen.builders import about, generator_sample, run_config


def course(events: list[tuple[float, str]], *, name: str = "") -> Course:
    sample = generator_sample(
        4.0, scheduled=9, started=9, ok=8, failed=1, outcome_connect_refused=1,
        first_failure_at=1.0, started_before_first_failure=3,
    )  # fmt: skip
    summary = conclude(about(run_config(duration=4.0), Ended(elapsed=4.0)), [sample], {})
    alone = msgspec.structs.replace(summary, causes=[])
    return Course(
        name=name, ink="first", labels=[""], summaries=[alone], tracks=[], intervals=[], shown=0,
        events=events,
    )  # fmt: skip


def test_moments_that_would_lie_upon_each_other_share_a_marker() -> None:
    found = markers([course([(0.99, "fault: a"), (1.02, "fault: b"), (2.5, "fault: c")])], 4.0)
    assert [(mark.key, mark.t) for mark in found] == [("1", 0.99), ("2", 2.5)]
    assert found[0].text == "990 ms: fault: a; 1.00 s: first connection lost; 1.02 s: fault: b"
    assert found[1].text == "2.50 s: fault: c"


def test_each_course_has_markers_of_its_own() -> None:
    found = markers([course([], name="before"), course([], name="after")], 4.0)
    assert [mark.key for mark in found] == ["1", "2"]
    assert found[0].text.startswith("before, 1.00 s: first connection lost")
    assert found[1].text.startswith("after, 1.00 s: first connection lost")


def test_the_end_of_the_schedule_is_marked_where_something_comes_after() -> None:
    assert [mark.key for mark in markers([course([])], 4.05)][-1] != END
    last = markers([course([])], 5.0)[-1]
    assert (last.key, last.t, last.ink) == (END, 4.0, "limit")


def test_schedules_of_different_length_have_no_common_end() -> None:
    one = course([])
    assert one.summary is not None
    other = msgspec.structs.replace(
        one,
        summaries=[
            msgspec.structs.replace(
                one.summary, config=msgspec.structs.replace(one.summary.config, duration=2.0)
            )
        ],
    )
    assert END not in [mark.key for mark in markers([one, other], 9.0)]


def test_nothing_known_nothing_marked() -> None:
    empty = Course("", "first", [], [], [], [], 0)
    assert markers([empty], 5.0) == []
