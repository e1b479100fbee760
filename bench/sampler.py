"""What sampling costs with full tables, at 10 samples a second. Goal: at most 1 % of a core.

Fills the client's namespace with 28,000 TIME_WAIT sockets toward memcached and 250,000 conntrack
entries (ctnetlink, in that namespace only; no setting of the host is touched), then samples all
roles as `loadgen run` does, and prints the CPU that each part cost as a share of one core.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from bench import command
from bench.site import Ground, add_options, ground
from bench.table import table
from lab.testbed import tracking
from loadgen.protocols import memcached
from loadgen.sample import ROLE_CLIENT, ROLE_GENERATOR, ROLE_HOST, ROLE_SERVER, encode_line
from loadgen.sampling import (
    MachineReader,
    NamespaceReader,
    ProcessReader,
    Reader,
    Sampler,
    ServerReader,
)
from loadgen.sampling.namespace import run_inside
from loadgen.summary import Number

INTERVAL = 0.1
STRIDE = 10
GOAL = 0.01
FILL_RATE = 10_000
_REUSE = Path("/proc/sys/net/ipv4/tcp_tw_reuse")


class Timed:
    """A reader that notes what CPU its readings cost."""

    def __init__(self, name: str, reader: Reader) -> None:
        self.name = name
        self.reader = reader
        self.absent = reader.absent
        self.seconds = 0.0
        self.readings = 0

    def read(self, *, now: float | None = None, force: bool = False) -> dict[str, Number]:
        before = time.thread_time()
        values = self.reader.read(now=now, force=force)
        self.seconds += time.thread_time() - before
        self.readings += bool(values)
        return values

    def close(self) -> None:
        self.reader.close()


def sample_all(readers: Mapping[str, list[Timed]], seconds: float) -> tuple[float, float, Sampler]:
    """Return elapsed and CPU seconds (of the process) of sampling for about `seconds`."""
    sampler = Sampler(
        readers, interval=INTERVAL, strides={ROLE_HOST: STRIDE, ROLE_GENERATOR: STRIDE}
    )
    start = time.monotonic()
    cpu = time.process_time()
    with Path(os.devnull).open("wb") as sink:
        for number in range(round(seconds / INTERVAL)):
            time.sleep(max(0.0, start + number * INTERVAL - time.monotonic()))
            sink.writelines(encode_line(sample) for sample in sampler.sample(start))
    return time.monotonic() - start, time.process_time() - cpu, sampler


def report(
    readers: Mapping[str, list[Timed]],
    counted: NamespaceReader,
    elapsed: float,
    cpu: float,
    sampler: Sampler,
) -> None:
    rows = []
    rest = cpu
    for part in (part for group in readers.values() for part in group):
        each = part.seconds / part.readings * 1e6 if part.readings else 0.0
        share = f"{part.seconds / elapsed:.3%}"
        rows.append((part.name, str(part.readings), f"{each:.0f}", share))
        rest -= part.seconds
    rows += [
        ("timing, encoding, sleeping", str(sampler.rounds), "", f"{rest / elapsed:.3%}"),
        ("all, CPU of the process", str(sampler.rounds), "", f"{cpu / elapsed:.3%}"),
    ]
    print(table(("part", "readings", "µs each", "of one core"), rows))
    ports = counted.ports
    if ports is not None:
        print(
            f"a count of the ports costs {ports.pace.cost * 1e3:.1f} ms and is taken every "
            f"{ports.pace.cost / ports.pace.share:.1f} s"
        )
    print(
        f"longest round {sampler.longest * 1e3:.1f} ms, "
        f"{sampler.overruns} of {sampler.rounds} rounds overran {INTERVAL} s"
    )


def readers_of(site: Ground) -> dict[str, list[Timed]]:
    """Return what a run of loadgen reads, each reader with its clock."""
    client, server = site.site.client, site.site.server
    address, _, port = site.target.rpartition(":")
    target = [(address, int(port))]
    return {
        ROLE_CLIENT: [
            Timed(
                "client: namespace and ports", NamespaceReader(client, targets=target, ports=True)
            )
        ],
        ROLE_SERVER: [
            Timed("server: namespace", NamespaceReader(server, targets=target)),
            Timed(
                "server: memcached stats",
                ServerReader(memcached.statistics(), target, namespace=server),
            ),
        ],
        ROLE_HOST: [
            Timed("host: namespace", NamespaceReader(None)),
            Timed("host: CPUs and softnet", MachineReader()),
        ],
        ROLE_GENERATOR: [Timed("generator: process", ProcessReader([os.getpid()]))],
    }


async def measure(chosen: argparse.Namespace) -> None:
    async with ground(chosen) as site:
        tracking.fill(site.site.client, chosen.entries, seconds=120)
        run_inside(site.site.client, lambda: _REUSE.write_text("0"))
        duration = f"{chosen.sockets / FILL_RATE}s"
        await site.loadgen("--rate", str(FILL_RATE), "--duration", duration)
        with ExitStack() as stack:
            readers = readers_of(site)
            for group in readers.values():
                for reader in group:
                    stack.callback(reader.close)
            counted = readers[ROLE_CLIENT][0].reader
            assert isinstance(counted, NamespaceReader)
            full = counted.read(force=True)
            print(
                f"client: {full['sockstat_TCP_tw']:,} TIME_WAIT sockets, "
                f"{full['ephemeral_ports_in_use']:,} ports in use of "
                f"{full['ephemeral_ports_limit']:,}, {full['nf_conntrack_entries']:,} conntrack "
                "entries",
                flush=True,
            )
            elapsed, cpu, sampler = sample_all(readers, chosen.seconds)
            report(readers, counted, elapsed, cpu, sampler)
            print(f"{cpu / elapsed:.2%} of one core; goal {GOAL:.0%}")


def main() -> None:
    parser = command.options(__doc__, "sampler")
    parser.add_argument("--sockets", type=int, default=28_000, help="TIME_WAIT sockets")
    parser.add_argument("--entries", type=int, default=250_000, help="conntrack entries")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to sample")
    add_options(parser)
    command.run(measure, parser)


if __name__ == "__main__":
    main()
