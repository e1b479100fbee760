"""What a summary says of itself."""

import msgspec
import pytest

from loadgen.accounting.messages import Totals
from loadgen.run.conclude import conclude
from loadgen.summary import Summary, decode, encode
from loadgen.thresholds import parse_threshold
from tests.loadgen.builders import about, run_config


def empty() -> Summary:
    """Return the summary of a run that was cut off before its first arrival."""
    return conclude(about(run_config()), [], {})


@pytest.mark.parametrize(
    ("scheduled", "failed", "dropped", "lost", "share"),
    [
        (0, 0, 0, 0, None),
        (10, 0, 0, 0, 0.0),
        (10, 1, 0, 1, 0.1),
        (10, 0, 2, 2, 0.2),
        (10, 1, 2, 3, 0.3),
        (1, 1, 0, 1, 1.0),
    ],
)
def test_lost(scheduled: int, failed: int, dropped: int, lost: int, share: float | None) -> None:
    totals = Totals(scheduled=scheduled, failed=failed, dropped=dropped)
    summary = msgspec.structs.replace(empty(), scheduled=scheduled, failed=failed, dropped=dropped)
    for counted in (totals, summary):
        assert counted.lost == lost
        assert counted.lost_share == (None if share is None else pytest.approx(share))


def test_a_run_without_arrivals_passes_no_gate_on_its_losses() -> None:
    assert parse_threshold("lost: count == 0").check(empty()).passed
    assert not parse_threshold("lost: rate == 0").check(empty()).passed


def test_what_follows_from_counts_is_not_written() -> None:
    written = msgspec.json.decode(encode(empty()))
    assert not {"lost", "lost_share"} & set(written)


def test_a_stored_run_is_read_as_it_was_written() -> None:
    assert decode(encode(empty())) == empty()


def test_what_another_version_said_beyond_is_passed_over() -> None:
    written = msgspec.json.decode(encode(empty()))
    written["config"]["congestion"] = "bbr"
    written["environment"] = {"kernel": "9.9", "moon": "full"}
    found = decode(msgspec.json.encode(written))
    assert found.config == empty().config
    assert (found.environment.kernel, found.environment.host) == ("9.9", None)


def test_a_configuration_that_cannot_be_is_damage_with_its_place() -> None:
    written = msgspec.json.decode(encode(empty()))
    written["config"]["close"] = "sometimes"
    with pytest.raises(msgspec.ValidationError, match=r"\$\.config\.close"):
        decode(msgspec.json.encode(written))
