"""What reports tell of one run, or of several under the same settings, as rows of text. Pure.

Where several runs are shown together, the particulars (evidence, moments, readings) are those of
one of them, named in the row: the run that the charts show, wherever it has them.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from loadgen.outcome import described
from loadgen.report import numbers
from loadgen.summary import Blame, Cause, Clock, Number, Summary
from loadgen.thresholds import LATENCIES
from loadgen.units import NOTHING, format_duration

FAULTS: Final[dict[Blame, str]] = {
    "generator": "the load generator",
    "client_host": "the client's host",
    "network": "the network",
    "server_host": "the server's host",
    "server": "the server program",
}
"""Whose limit it was."""

_T = TypeVar("_T")


class Told:
    """Runs under the same settings, and which of them stands for all.

    Args:
        labels: of the runs, such as `trial 3`; empty for a run that is alone.
        summaries: in the same order.
        shown: the index of the run whose particulars are told.
    """

    def __init__(
        self, labels: Sequence[str], summaries: Sequence[Summary | None], shown: int
    ) -> None:
        pairs = list(zip(labels, summaries, strict=True))
        ordered = pairs[shown : shown + 1] + pairs[:shown] + pairs[shown + 1 :]
        self.runs = [(label, summary) for label, summary in ordered if summary is not None]

    def gather(
        self, items: Callable[[Summary], Iterable[_T]], key: Callable[[_T], str]
    ) -> dict[str, list[tuple[str, _T]]]:
        """Return the items of all runs by key, with the run's label; the shown run's first."""
        found: dict[str, list[tuple[str, _T]]] = {}
        for label, summary in self.runs:
            for item in items(summary):
                found.setdefault(key(item), []).append((label, item))
        return found

    def times(self, number: int) -> str:
        """Return `5 of 6 trials`, or nothing for a run that is alone."""
        if len(self.runs) < 2:
            return ""
        return f"{number} of {numbers.plural(len(self.runs), 'trial')}"


def ranked_causes(summaries: Iterable[Summary]) -> list[tuple[Cause, int, int]]:
    """Return each cause once, with its connections over all runs and how many runs had it.

    The cause that explains most connections comes first; its record is that of the run in which
    it explained most.
    """
    seen: dict[str, list[Cause]] = {}
    for summary in summaries:
        for cause in summary.causes:
            seen.setdefault(cause.cause, []).append(cause)
    rows = [
        (
            max(causes, key=lambda cause: cause.connections),
            sum(cause.connections for cause in causes),
            len(causes),
        )
        for causes in seen.values()
    ]
    return sorted(rows, key=lambda row: (-row[1], row[0].cause))


def causes(told: Told) -> list[dict[str, Any]]:
    """Return what broke: each cause with its evidence and remedy, the greatest first."""
    ranked = ranked_causes(summary for _, summary in told.runs)
    by_name = told.gather(lambda summary: summary.causes, lambda cause: cause.cause)
    rows = []
    for cause, connections, times in ranked:
        label, shown = by_name[cause.cause][0]
        rows.append(
            {
                "title": shown.title,
                "fault": FAULTS[shown.fault],
                "connections": numbers.count(connections) if connections else "none of its own",
                "trials": told.times(times),
                "first": NOTHING if shown.first_at is None else numbers.seconds(shown.first_at),
                "of": label,
                "evidence": [evidence.text for evidence in shown.evidence],
                "remedy": shown.remedy,
            }
        )
    return rows


def explanations(told: Told) -> list[dict[str, str]]:
    """Return why connections succeeded where a limit was near."""
    found = told.gather(lambda summary: summary.explanations, lambda item: item.name)
    return [
        {"text": rows[0][1].text, "of": rows[0][0], "trials": told.times(len(rows))}
        for rows in found.values()
    ]


def snapshots(told: Told) -> list[dict[str, Any]]:
    """Return how near each limit was at the first connection of each failing outcome."""
    found = told.gather(lambda summary: summary.snapshots, lambda item: item.outcome)
    return [
        {
            "title": f"At the first {first_of(outcome)}",
            "at": numbers.seconds(rows[0][1].at),
            "of": rows[0][0],
            "file": rows[0][1].file,
            "trials": told.times(len(rows)),
            "essence": [item.text for item in rows[0][1].essence],
        }
        for outcome, rows in found.items()
    ]


def first_of(outcome: str) -> str:
    """Return a snapshot's outcome in words: `connect timeout`, `arrival given up (overdue)`."""
    reason = outcome.removeprefix("dropped_")
    if reason != outcome:
        return f"arrival given up ({reason.replace('_', ' ')})"
    return outcome.replace("_", " ")


_BESIDES: Final = (
    ("never started", "dropped", "the arrival was overdue and given up"),
    ("unfinished", "unfinished", "still under way at the end of the run"),
)


def outcomes(summaries: Sequence[Summary]) -> list[dict[str, str]]:
    """Return how the attempts and arrivals ended, all runs together."""
    total: dict[str, int] = {}
    for summary in summaries:
        for name, number in summary.outcomes.items():
            total[name] = total.get(name, 0) + number
    due = sum(summary.scheduled for summary in summaries)
    rows = [
        (name.replace("_", " "), number, described(name))
        for name, number in sorted(total.items(), key=lambda item: -item[1])
        if number
    ]
    for label, field, description in _BESIDES:
        number = sum(getattr(summary, field) for summary in summaries)
        if number:
            rows.append((label, number, description))
    return [
        {
            "name": name,
            "number": numbers.count(number),
            "share": numbers.share(number / due) if due else NOTHING,
            "description": description,
        }
        for name, number, description in rows
    ]


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


_TIMES: Final = frozenset(
    {
        "duration", "warmup", "timeout", "connect_timeout", "max_lateness", "sample_interval", "rtt",
    }
)  # fmt: skip
_RATES: Final = frozenset({"rate", "closed_loop_rate"})
_PLAIN: Final = frozenset({"seed"})


def circumstances(values: Mapping[str, Any] | msgspec.Struct) -> list[tuple[str, str]]:
    """Return a configuration or an environment as people read it: words, units, no braces."""
    plain = msgspec.structs.asdict(values) if isinstance(values, msgspec.Struct) else values
    return [(named(key), said(key, value)) for key, value in flatten(plain).items()]


def named(key: str) -> str:
    """Return a dotted key of a configuration or an environment in words."""
    return key.removesuffix("_kib").replace("_", " ").replace(".", ": ")


def said(key: str, value: Any) -> str:
    """Return a value of a configuration or an environment in words, in the unit of its key."""
    key = key.rpartition(".")[2]
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _number(key, value)
    if key == "shard" and isinstance(value, list | tuple) and len(value) == 2:
        return f"{value[0] + 1} of {value[1]}"
    if isinstance(value, list | tuple):
        if not value:
            return "none"
        if key == "loadgen":
            return shlex.join(map(str, value))
        return ", ".join(
            ":".join(map(str, item)) if isinstance(item, list | tuple) else str(item)
            for item in value
        )
    return str(value)


def _number(key: str, value: Number) -> str:
    if key in _TIMES:
        return format_duration(value)
    if key in _RATES:
        return numbers.quantity(value, "/s")
    if key == "memory_kib":
        return f"{numbers.significant(value / 2**20)} GiB"
    return str(value) if key in _PLAIN else f"{value:,}" if isinstance(value, int) else f"{value:g}"


def gate(expression: str, value: float | None) -> str:
    """Return the value of a threshold's metric, in its unit."""
    if value is None:
        return "not measured"
    metric, _, condition = expression.partition(":")
    if metric.strip() in LATENCIES:
        return numbers.seconds(value)
    if condition.strip().startswith("rate"):
        return numbers.share(value)
    return f"{value:,.10g}"


def metrics(summary: Summary) -> list[dict[str, Any]]:
    """Return every metric of the kernel over a run, role by role; those that moved come first."""
    roles = []
    for role, found in summary.kernel.items():
        rows = [
            {
                "name": name,
                "values": [
                    numbers.quantity(getattr(row, field), "1")
                    for field in ("first", "last", "min", "max", "delta")
                ],
                "moved": row.min != row.max,
            }
            for name, row in sorted(found.items())
        ]
        rows.sort(key=lambda row: not row["moved"])
        roles.append({"role": role, "rows": rows})
    return roles


def shards(summary: Summary) -> list[dict[str, str]]:
    """Return a fleet's shards, a row each; nothing of a run of one generator."""
    return [
        {
            "label": str(one.shard),
            "node": one.node,
            "state": one.state,
            "said": one.said,
            "directory": one.directory,
            "scheduled": numbers.count(one.scheduled),
            "ok": numbers.count(one.ok),
            "failed": numbers.count(one.failed),
            "dropped": numbers.count(one.dropped),
            "not_started": numbers.count(one.not_started),
            "clock": clock(one.clock),
        }
        for one in summary.shards
    ]


def clock(found: Clock | None) -> str:
    """Return a node's clock against control's, in milliseconds: offset, how sure, how steady."""
    if found is None:
        return NOTHING
    said = f"{found.offset * 1e3:+.2f} ms ± {found.uncertainty * 1e3:.2f}"
    return said if found.drift is None else f"{said}, moved {found.drift * 1e3:+.2f}"
