"""Exit codes: what a summary stands for, the most serious first."""

from __future__ import annotations

import pytest

from loadgen.cli.execute import exit_code
from loadgen.run.conclude import Ended, conclude
from tests.loadgen.builders import about, generator_sample, run_config

_FINE = "failed: rate == 0"
_BROKEN = "ok: count > 1000000"


@pytest.mark.parametrize(
    ("ended", "dropped", "threshold", "code"),
    [
        ({}, 0, _FINE, 0),
        ({}, 0, _BROKEN, 99),
        ({}, 500, _FINE, 3),  # by the generator itself
        ({}, 500, _BROKEN, 99),
        ({"lost_workers": ["worker 1 ended"]}, 0, _FINE, 3),
        ({"interrupted": True}, 0, _FINE, 130),
        ({"interrupted": True}, 0, _BROKEN, 130),
        ({"interrupted": True, "aborted_by": _BROKEN}, 0, _BROKEN, 99),
        (None, 0, _FINE, 3),  # killed
    ],
)
def test_a_summary_has_its_exit_code(
    ended: dict[str, object] | None, dropped: int, threshold: str, code: int
) -> None:
    values = {"started": 1000, "ok": 1000, "dropped": dropped, "drop_overdue": dropped}
    samples = [generator_sample(1.0, scheduled=1000 + dropped, **values)]
    end = None if ended is None else Ended(elapsed=1.0, **ended)  # type: ignore[arg-type]
    summary = conclude(about(run_config(thresholds=[threshold]), end), samples, {})
    assert exit_code(summary) == code
