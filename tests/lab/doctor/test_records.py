"""The doctor's table."""

from __future__ import annotations

import msgspec

from lab.doctor.records import Check, Diagnosis, render

LONG = "a kernel with something that takes many words to describe " * 3


def diagnosis(**testbeds: bool) -> Diagnosis:
    return Diagnosis(
        kernel="6.18.0",
        testbeds=testbeds,
        checks=[
            Check(group="First", name="one", state="ok", found="as root"),
            Check(group="First", name="another", state="limited", found="slow", remedy=LONG),
            Check(group="Second", name="three", state="missing", found="not here", remedy="get it"),
            Check(group="Second", name="four", state="note", found="idle"),
        ],
    )


def test_the_table_has_groups_marks_and_remedies() -> None:
    lines = render(diagnosis(netns=True, docker=False)).splitlines()
    assert lines[0] == "Linux 6.18.0"
    assert lines[2:5] == ["First", "  ok       one      as root", "  LIMITED  another  slow"]
    assert lines[5].startswith("                    → a kernel with something")
    assert "  MISSING  three    not here" in lines
    assert "                    → get it" in lines
    assert "           four     idle" in lines
    assert lines[-1] == "lab run works here with: --testbed netns"
    assert max(map(len, lines)) <= 100


def test_the_last_line_says_which_testbeds_work() -> None:
    assert render(diagnosis(netns=True, docker=True)).endswith(
        ": --testbed netns and --testbed docker\n"
    )
    assert render(diagnosis(netns=False, docker=False)).endswith(": no testbed\n")


def test_it_is_json_too() -> None:
    made = diagnosis(netns=True)
    assert msgspec.json.decode(msgspec.json.encode(made), type=Diagnosis) == made
