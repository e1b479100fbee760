"""One sample: a reading of counters at one moment of the run, as a line of `samples.jsonl`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from loadgen.summary import MetricRange, Number

ROLE_CLIENT = "client"
ROLE_SERVER = "server"
ROLE_HOST = "host"
ROLE_GENERATOR = "generator"
KERNEL_ROLES = (ROLE_CLIENT, ROLE_SERVER, ROLE_HOST)


class Sample(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Readings of one role's namespace, or of the generator itself, at one moment.

    `t` is seconds since the first arrival was due, on the run's one clock (CLOCK_MONOTONIC); it is
    negative for the readings taken before. A metric that could not be read is absent, never zero;
    the reason is in `run.json`.
    """

    t: float
    role: str
    values: dict[str, Number]


_decoder = msgspec.json.Decoder(Sample)
_encoder = msgspec.json.Encoder()


def encode_line(sample: Sample) -> bytes:
    """Return the sample as one line of JSON, newline included."""
    return _encoder.encode(sample) + b"\n"


def decode_lines(lines: Iterable[bytes]) -> Iterator[Sample]:
    """Yield the samples of a `samples.jsonl`, passing over lines that were cut off or damaged."""
    for line in lines:
        try:
            yield _decoder.decode(line)
        except msgspec.DecodeError:
            continue


def ranges(samples: Iterable[Sample]) -> dict[str, dict[str, MetricRange]]:
    """Return first, last, min, max and delta of every metric, by role."""
    values: dict[str, dict[str, list[Number]]] = {}
    for sample in samples:
        role = values.setdefault(sample.role, {})
        for name, value in sample.values.items():
            role.setdefault(name, []).append(value)
    return {
        role: {
            name: MetricRange(
                first=series[0],
                last=series[-1],
                min=min(series),
                max=max(series),
                delta=series[-1] - series[0],
            )
            for name, series in metrics.items()
        }
        for role, metrics in values.items()
    }
