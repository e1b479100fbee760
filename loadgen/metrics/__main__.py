"""Write `docs/metrics.md` from the catalogue: `python -m loadgen.metrics > docs/metrics.md`."""

from __future__ import annotations

import sys

from loadgen.metrics import GROUPS, Metric

_HEAD = """\
# Metrics

Generated from the catalogue, `loadgen/metrics/`, by `python -m loadgen.metrics > docs/metrics.md`;
a test fails when this page is out of date.

A sample holds what the kernel holds: counters are cumulative, and what happened in an interval is
the difference of two samples. A metric that could not be read is absent from the sample, never
zero; `run.json` gives the reason. A gauge with a limit has failed its users when it reaches it.

*Scope* is what the number is about: a network namespace, the whole machine (the same in every
namespace), the watched processes, the server, or the run. *Since* is the first version of Linux
that has the metric (of memcached, for its own); `-` means older than Linux 4.0,
`?` not established. Names are
node_exporter's, without `node_`, where it has the metric.
"""


def _row(metric: Metric) -> str:
    meaning = metric.meaning + (f"; limit: `{metric.limit}`" if metric.limit else "")
    cells = (
        f"`{metric.name}`",
        metric.kind,
        metric.unit,
        metric.scope,
        f"`{metric.source}`" if "/" in metric.source or "_" in metric.source else metric.source,
        metric.since,
        meaning,
    )
    return "| " + " | ".join(cells) + " |"


def page() -> str:
    """Return the whole of `docs/metrics.md`."""
    parts = [_HEAD]
    for title, group in GROUPS.items():
        rows = "\n".join(_row(metric) for metric in group)
        parts.append(
            f"## {title}\n\n"
            "| name | kind | unit | scope | source | since | meaning |\n"
            "|---|---|---|---|---|---|---|\n"
            f"{rows}\n"
        )
    return "\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(page())
