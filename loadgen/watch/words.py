"""How the watcher's numbers and places are written for people. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from loadgen.target import bracketed, endpoint
from loadgen.units import NOTHING, format_duration
from loadgen.watch.who import Destination, Holder


def amount(value: float) -> str:
    """Return a number with thousands marked, with decimals only where it is small and needs them."""
    if value != value or abs(value) >= 10 or value == int(value):  # noqa: PLR0124 - NaN
        return f"{value:,.0f}"
    return f"{value:.1f}"


def rate(value: float | None) -> str:
    """Return a rate a second."""
    return NOTHING if value is None else f"{amount(value)}/s"


def short_time(seconds: float | None) -> str:
    """Return a time with three digits, such as `1.56 ms`."""
    return NOTHING if seconds is None else format_duration(seconds)


def named(host: str, port: int, names: Mapping[tuple[str, int], str]) -> str:
    """Return address and port, the address alone for port 0; under another name where one is known."""
    return names.get((host, port)) or (endpoint(host, port) if port else bracketed(host))


def outlook(line: Destination) -> str:
    """Return what a destination comes to at its present rate."""
    if line.exhausted_in == 0:
        return "no port left: connect() fails"
    words = []
    if line.slow_in == 0:
        words.append("slow now")
    elif line.slow_in is not None:
        words.append(f"slow in {format_duration(line.slow_in)}")
    if line.exhausted_in is not None:
        words.append(f"no port in {format_duration(line.exhausted_in)}")
    if not words and line.reused:
        words.append("TIME_WAIT ports are taken again")
    return "; ".join(words)


def owner(line: Holder) -> str:
    """Return the process, as much of it as is known."""
    if line.process:
        return f"{line.process} ({line.pid})"
    return "closed before it could be looked up" if line.cgroup in {"", "/"} else "one of several"


def where(line: Holder) -> str:
    """Return container and unit of a process, else its cgroup."""
    parts = [f"container {line.container}" if line.container else "", line.unit]
    return ", ".join(filter(None, parts)) or (line.cgroup if line.cgroup != "/" else "") or NOTHING
