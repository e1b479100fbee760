"""Whose limit it was, and what each host held."""

import msgspec
import pytest

from lab.analysis.hosts import boxes, figures, limit_role, whose
from loadgen.summary import Blame, Cause, Evidence, MetricRange, Summary
from tests.lab.ablate.worlds import summary


def reading(value: int) -> MetricRange:
    return MetricRange(first=0, last=value, min=0, max=value, delta=value)


def behind(role: str, lost: float, *, drops: int = 0, entries: int = 0) -> Summary:
    """A run through a box: its table held and dropped so many."""
    found = summary(0.0)
    failed = round(found.scheduled * lost)
    kernel = {
        "client": {"sockstat_TCP_tw": reading(7)},
        role: {
            "nf_conntrack_entries": reading(entries),
            "nf_conntrack_stat_drop": reading(drops),
        },
    }
    return msgspec.structs.replace(found, failed=failed, ok=found.ok - failed, kernel=kernel)


def caused(run: Summary, fault: Blame, role: str) -> Summary:
    evidence = Evidence(metric="m", value=1, role=role, text="seen there")
    cause = Cause(
        cause="c", fault=fault, connections=run.failed, first_at=0.1, evidence=[evidence],
        remedy="r", title="t",
    )  # fmt: skip
    return msgspec.structs.replace(run, causes=[cause])


def test_the_drops_of_a_box_or_the_evidence_of_a_cause_tell_whose_limit_it_was() -> None:
    assert limit_role([behind("nat", 0.5, drops=900)]) == "nat"
    assert limit_role([caused(behind("proxy", 0.5), "server", "proxy")]) == "proxy"
    assert limit_role([caused(behind("nat", 0.5), "client_host", "client")]) == "client"
    assert limit_role([behind("nat", 0.0)]) is None
    assert boxes([summary(0.5)]) == []


@pytest.mark.parametrize(
    ("tuned", "helped", "says"),
    [
        (["client"], False, "The limit lies on the NAT, and the tuning changes the client alone: no "
         "setting of that host can move it. What can belongs on the NAT: --after nat=FILE."),
        (["client", "server"], False, "changes the client and the server's host alone: no setting of "
         "those hosts can move it"),
        (["nat"], True, "The limit lay on the NAT, and its own tuning moved it."),
        (["nat"], False, "The limit lies on the NAT, and its tuning did not move it."),
        (["client"], True, "The limit lay on the NAT, and the tuning of the client kept the load away"),
    ],
)  # fmt: skip
def test_a_newcomer_is_told_whether_the_tuning_could_help(
    tuned: list[str], helped: bool, says: str
) -> None:
    before = [behind("nat", 0.5, drops=900)] * 4
    after = [behind("nat", 0.0)] * 4 if helped else before
    assert says in whose(before, after, tuned, helped=helped)


def test_a_tuning_that_helps_without_moving_the_limit_is_told_so() -> None:
    """As reuse on a client behind a NAT: a port that is used again keeps its entry."""
    before, after = [behind("nat", 0.5, drops=900)] * 4, [behind("nat", 0.4, drops=800)] * 4
    found = whose(before, after, ["client"], helped=True)
    assert "kept a part of the load away from it and cannot move it" in found
    assert found.endswith("--after nat=FILE.")


def test_without_a_box_in_between_nothing_is_said() -> None:
    assert whose([summary(0.5)], [summary(0.0)], ["client"], helped=True) == ""
    assert figures([summary(0.5)], [summary(0.0)]) == []


def test_each_host_has_its_figures() -> None:
    rows = figures([behind("nat", 0.5, drops=9, entries=5)] * 2, [behind("nat", 0.0, entries=3)])
    told = {(row.role, row.name): (row.before, row.after) for row in rows}
    assert told["nat", "connections tracked, at most"] == (5, 3)
    assert told["nat", "packets dropped for want of an entry or a port"] == (9, 0)
    assert told["client", "TIME_WAIT sockets, at most"] == (7, 7)
