"""What is drawn in which chart."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from loadgen.report.page.charts import plates
from loadgen.report.page.figures import Course, Figure, middle
from loadgen.report.page.series import tracks
from loadgen.run.conclude import Ended, conclude
from loadgen.sample import Sample
from loadgen.summary import Number, Summary
from tests.loadgen.builders import about, generator_sample, run_config


def summary(samples: list[Sample], **config: Any) -> Summary:
    known = about(run_config(**config), Ended(elapsed=samples[-1].t))
    return conclude(known, samples, {})


def course(samples: list[Sample], **config: Any) -> Course:
    return Course(
        name="",
        ink="second",
        labels=[""],
        summaries=[summary(samples, **config)],
        tracks=[tracks(samples)],
        intervals=[[]],
        shown=0,
    )


def figure(drawn: Course, name: str) -> Figure:
    return next(found for found in plates([drawn], {}).time if found.id == name)


def steady(seconds: int, rate: int) -> list[Sample]:
    return [
        generator_sample(float(t), scheduled=rate * t, started=rate * t, ok=rate * t, dropped=0)
        for t in range(seconds + 1)
    ]


@pytest.mark.parametrize(
    ("config", "offered"),
    [
        ({"rate": 500.0, "duration": 3.0}, [500, 500, 500, 0]),
        ({"rate": 500.0, "duration": 3.0, "shard": (1, 2)}, [250, 250, 250, 0]),
        ({"rate": 500.0, "duration": 3.0, "schedule": "poisson"}, [500, 500, 500, 0]),
        ({"rate": None, "duration": 4.0, "schedule": "ramp:0-800"}, [100, 300, 500, 700]),
        ({"rate": None, "duration": 4.0, "schedule": "steps:100,300"}, [100, 100, 300, 300]),
        ({"rate": None, "duration": 4.0, "closed_loop": True}, [900, 900, 900, 900]),
    ],
)
def test_offered_is_what_the_schedule_says(config: dict[str, Any], offered: list[float]) -> None:
    """Not what the generator noticed, which is late where it sat in connect()."""
    line = figure(course(steady(4, 900), **config), "throughput").lines[0]
    moments = figure(course(steady(4, 900), **config), "throughput").x
    whole = [line.values[moments.index(float(t))] for t in (1, 2, 3, 4)]
    step = moments[1]
    slope = {"ramp:0-800": 200 * step / 2}.get(str(config.get("schedule")), 0)
    rising = (
        [0, 0, 0, 0] if not slope else [200 * t - 100 * (2 * t - 1) - slope for t in (1, 2, 3, 4)]
    )
    assert whole == pytest.approx([o + r for o, r in zip(offered, rising, strict=True)], abs=1e-6)


def test_a_limit_far_off_is_named_and_a_near_one_drawn() -> None:
    def ports(used: int) -> Figure:
        values: dict[str, Number] = {
            "ephemeral_ports_in_use": used,
            "ephemeral_ports_limit": 28_232,
        }
        samples = [*steady(2, 10), *(Sample(t, "client", values) for t in (0.5, 1.5))]
        return figure(course(samples), "ports")

    near, far = ports(20_000), ports(200)
    assert [line.label for line in near.lines] == ["in use", "ports in the range"]
    assert near.notes == []
    assert [line.label for line in far.lines] == ["in use"]
    assert far.notes == ["Ports in the range: 28,232, far above this scale."]


def test_one_run_has_no_band_and_several_have() -> None:
    one = course(steady(2, 10))
    assert all(line.low == [] for found in plates([one], {}).time for line in found.lines)
    several = msgspec.structs.replace(
        one, labels=["a", "b"], summaries=one.summaries * 2, tracks=one.tracks * 2,
        intervals=one.intervals * 2,
    )  # fmt: skip
    served = figure(several, "throughput").lines[1]
    assert len(served.low) == len(served.high) == len(served.values)


def test_an_outcome_has_a_line_only_where_it_occurred() -> None:
    samples = [
        generator_sample(float(t), scheduled=9 * t, started=9 * t, ok=4 * t, failed=5 * t, outcome_reset=5 * t, dropped=0)
        for t in range(3)
    ]  # fmt: skip
    found = figure(course(samples), "losses")
    assert [line.label for line in found.lines] == ["never started", "reset"]
    assert found.notes == ["reset: the server reset an established connection."]


def test_the_middle_run_is_one_that_counts() -> None:
    runs = [
        msgspec.structs.replace(summary(steady(1, 10)), dropped=lost, validity=validity)
        for lost, validity in ((9, "valid"), (1, "valid"), (5, "valid"), (2, "generator_limited"))
    ]
    assert middle(runs) == 2
    assert middle([None, *runs]) == 3
    assert middle([None]) == 0
    assert middle([]) == 0
