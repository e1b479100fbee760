"""What is kept of a run while it goes on, for the moment in which something fails."""

from loadgen.sample import Sample
from loadgen.sampling.snapshots import RECENT, NewOutcomes, Recent


def test_however_long_a_run_is_only_its_last_seconds_are_kept() -> None:
    recent = Recent()
    sizes = []
    for number in range(-10, 10_000):
        for role in ("generator", "client", "server"):
            recent.add(Sample(number / 10, role, {}))
        sizes.append(len(recent))
    assert max(sizes) <= 3 * (2 * RECENT * 10 + 2)
    assert sizes[-1] == sizes[1000]


def test_a_snapshot_gets_the_two_seconds_before_its_tick_and_what_came_since() -> None:
    recent = Recent()
    for number in range(100):
        recent.add(Sample(number / 10, "client", {}))
    times = [item.t for item in recent.before(9.5)]
    assert times[0] == 7.5
    assert times[-1] == 9.9
    assert times == sorted(times)


def test_an_outcome_is_new_once() -> None:
    outcomes = NewOutcomes()
    values = {"generator_outcome_ok": 5, "generator_outcome_reset": 0}
    assert outcomes.fresh(values) == []
    assert outcomes.fresh({**values, "generator_outcome_reset": 1}) == ["reset"]
    assert outcomes.fresh({**values, "generator_outcome_reset": 2}) == []
    assert outcomes.fresh({"generator_drop_overdue": 1}) == ["dropped_overdue"]
