"""Parameter types of the command lines: the parsers of the pure modules, as click wants them."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

import click

from loadgen.config.options import MAX_SHARDS
from loadgen.config.schedule import MOST_RATE
from loadgen.target import Network
from loadgen.units import parse_duration, shortened, whole

"""More machines than anybody has; arrival numbers stay far below 2**63 with it."""


class Parsed(click.ParamType[Any]):
    """A parameter that a function parses; its ValueError is the message."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse text; pass through what is parsed already (defaults)."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _positive(parse: Callable[[str], float], what: str) -> Callable[[str], float]:
    def checked(text: str) -> float:
        value = parse(text)
        if not 0 < value < float("inf"):
            raise ValueError(f"{text!r}: {what} must be above 0")
        return value

    return checked


def _rate(text: str) -> float | str:
    if text in {"max", "auto"}:
        return text
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a rate: write connections per second") from None
    if not 0 < value <= MOST_RATE:
        raise ValueError(f"{text!r}: a rate is above 0 and at most {MOST_RATE:,} a second")
    return value


def _fixed_rate(text: str) -> float | str:
    if text == "auto":
        raise ValueError("auto is the lab's; give loadgen a number, or max")
    return _rate(text)


def _port_range(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    first, last = whole(low), whole(high)
    if first is None or last is None or not 1 <= first <= last <= 65535:
        raise ValueError(
            f"{shortened(text)} is not a port range: write LOW-HIGH, such as 32768-60999"
        )
    return first, last


def _shard(text: str) -> tuple[int, int]:
    first, _, second = text.partition("/")
    index, count = whole(first), whole(second)
    if index is None or count is None or not 1 <= index <= count <= MAX_SHARDS:
        raise ValueError(
            f"{shortened(text)} is not a shard: write I/N with I from 1 to N, such as 2/3, "
            f"and N at most {MAX_SHARDS:,}"
        )
    return index - 1, count


def _network(text: str) -> Network:
    # ipaddress takes netmasks and host masks too: 8.8.8.8/0.0.0.255 would open a /24.
    _, slash, prefix = text.partition("/")
    masked = slash and whole(prefix) is None
    try:
        return ipaddress.ip_network("" if masked else text, strict=False)
    except ValueError:
        raise ValueError(
            f"{shortened(text)} is not a network: write ADDRESS/PREFIX, such as 10.1.2.0/24"
        ) from None


def _workers(text: str) -> int | None:
    if text == "auto":
        return None
    number = whole(text)
    if number is None or not 1 <= number <= 1024:
        raise ValueError(f"{shortened(text)} is not a number of workers: write auto or 1 to 1024")
    return number


def _size(text: str) -> int:
    digits = text.rstrip("KMGkmg")
    factor = {"": 0, "K": 1, "M": 2, "G": 3}.get(text[len(digits) :].upper())
    number = whole(digits, 12)
    if factor is None or number is None:
        raise ValueError(f"{shortened(text)} is not a size: write bytes, or 500K, 64M, 2G")
    size: int = number * 1024**factor
    if not 1 << 20 <= size <= 1 << 40:
        raise ValueError(f"{text!r}: a recording takes at least 1M and at most 1024G")
    return size


def _listen(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    number = whole(port)
    if not colon or number is None or number > 65535:
        raise ValueError(f"{text!r} is not an address to listen on: write :PORT or HOST:PORT")
    host = host.strip("[]")
    labels = host.rstrip(".").split(".") if host else []
    if ":" not in host and not all(0 < len(label) <= 63 and label.isascii() for label in labels):
        raise ValueError(f"{text!r} is not an address to listen on: {host!r} is no name of a host")
    return host, number


def _collector(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    number = whole(port)
    if not colon or number is None or not 0 < number <= 65535:
        raise ValueError(f"{text!r} is not an address to be reached at: write :PORT or HOST:PORT")
    return host.strip("[]"), number


def _sysctl(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (equals and key.strip() and value.strip()):
        raise ValueError(f"{text!r} is not a setting: write KEY=VALUE")
    return key.strip(), value.strip()


DURATION = Parsed("duration", _positive(parse_duration, "a duration"))
DURATION_OR_ZERO = Parsed("duration", parse_duration)
RATE = Parsed("rate", _rate)
FIXED_RATE = Parsed("rate", _fixed_rate)
PORT_RANGE = Parsed("low-high", _port_range)
SHARD = Parsed("i/n", _shard)
NETWORK = Parsed("cidr", _network)
WORKERS = Parsed("auto|n", _workers)
COLLECTOR = Parsed("host:port", _collector)
SYSCTL = Parsed("key=value", _sysctl)
LISTEN = Parsed("host:port", _listen)
SIZE = Parsed("size", _size)
