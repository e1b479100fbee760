"""What TLS costs a connection, and that every handshake of many is accounted for.

Closed loop against memcached: plain, with full handshakes, and with sessions resumed, in turn, each with
the CPU that the generator's worker and the server used for a connection. Then the count, in the open
loop: so many full handshakes with memcached, Redis and nginx at a rate that this machine carries, each
with its outcome; and as many with a certificate that has expired.
"""

from __future__ import annotations

import argparse
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import trustme

from bench import arms, command
from bench.figures import Run, spread
from bench.quiet import process_seconds
from bench.site import Ground, add_options, ground, run_of
from bench.table import table
from loadgen.summary import Summary

NAME = "cache.example"
SHARE = 0.25
"""Of the closed loop with full handshakes: the rate of the count, where none is given."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Issues the servers' certificates, and is trusted by the generator."""

    ca: trustme.CA
    kind: trustme.KeyType

    def certificate(self, *, expired: bool = False) -> str:
        """Return key and certificate in PEM."""
        until = datetime.now(UTC) + timedelta(days=-1 if expired else 1)
        issued = self.ca.issue_cert(
            NAME, key_type=self.kind, not_before=until - timedelta(days=9), not_after=until
        )
        return issued.private_key_and_cert_chain_pem.bytes().decode()

    def words(self, scratch: Path) -> tuple[str, ...]:
        """Return loadgen's options for TLS with certificates of this authority."""
        file = scratch / "ca.pem"
        self.ca.cert_pem.write_to_path(file)
        return ("--tls", "--tls-ca", str(file), "--tls-name", NAME)


def cpu_of(pids: Iterable[int]) -> float:
    """Return the CPU seconds that processes have used so far."""
    return sum(process_seconds(pid) for pid in pids)


@dataclass(frozen=True, slots=True)
class Beside:
    """What else was seen of a run."""

    server: float
    """The server's CPU for a connection, in microseconds."""
    handshake: float
    """The generator's CPU for a handshake, in microseconds; 0 without TLS."""
    resumed: float
    """The share of handshakes that took up a session."""


@dataclass(frozen=True, slots=True)
class Side:
    """One way to connect: where, and with which options."""

    site: Ground
    words: tuple[str, ...]
    seen: dict[Run, Beside] = field(default_factory=dict)
    """Of all runs, those too that were repeated."""

    async def run(self, seconds: float) -> Run:
        before = cpu_of(self.site.ours)
        pace = ("--rate", "max", "--concurrency", "64", "--duration", f"{seconds}s")
        summary, _ = await self.site.loadgen(*pace, "--workers", "1", *self.words)
        run, tls = run_of(summary), summary.generator.tls
        self.seen[run] = Beside(
            server=(cpu_of(self.site.ours) - before) / summary.ok * 1e6,
            handshake=tls.cpu_seconds / tls.handshakes * 1e6 if tls is not None else 0,
            resumed=tls.resumed / tls.handshakes if tls is not None else 0,
        )
        return run


@asynccontextmanager
async def secured(
    chosen: argparse.Namespace, authority: Authority, server: str, *, expired: bool = False
) -> AsyncIterator[Ground]:
    """Make a site whose servers speak TLS."""
    certificate = authority.certificate(expired=expired)
    async with ground(chosen, server=server, certificate=certificate) as site:
        yield site


async def costs(chosen: argparse.Namespace, authority: Authority) -> float:
    """Print what a connection costs; return connections a second with full handshakes."""
    async with AsyncExitStack() as stack:
        plain = await stack.enter_async_context(ground(chosen))
        site = await stack.enter_async_context(secured(chosen, authority, "memcached"))
        words = authority.words(site.scratch)
        sides = {
            "plain": Side(plain, ()),
            "TLS, full handshakes": Side(site, words),
            "TLS, sessions resumed": Side(site, (*words, "--tls-resume")),
        }
        watched = Ground(plain.site, plain.scratch, [*plain.ours, *site.ours])
        runs = {name: partial(side.run, chosen.seconds) for name, side in sides.items()}
        found = await arms.interleave(watched, runs, chosen.rounds)
    print(arms.compared(found, "plain"))
    rows = []
    for name, side in sides.items():
        beside = [side.seen[run] for run in found[name]]
        rows.append(
            (
                name,
                spread(one.handshake for one in beside).text(".0f"),
                spread(one.resumed for one in beside).text(".2f"),
                spread(one.server for one in beside).text(".0f"),
            )
        )
    print(table(("CPU a connection, µs", "generator's handshake", "resumed", "server"), rows))
    return spread(run.rate for run in found["TLS, full handshakes"]).median


def row(server: str, certificate: str, rate: float, summary: Summary) -> tuple[str, ...]:
    """Return what became of a run's connections."""
    outcomes = ", ".join(f"{name} {number:,}" for name, number in summary.outcomes.items())
    causes = ", ".join(cause.cause for cause in summary.causes) or "none"
    tls = summary.generator.tls
    full = tls.handshakes - tls.resumed if tls is not None else 0
    return (
        *(server, certificate, f"{rate:,.0f}/s", f"{summary.scheduled:,}", outcomes),
        *(f"{full:,}", str(summary.unaccounted()), causes),
    )


async def counts(chosen: argparse.Namespace, authority: Authority, rate: float) -> None:
    """Print the outcomes of many handshakes with each server."""
    rows = []
    for server, expired in (
        ("memcached", False), ("redis", False), ("nginx", False), ("memcached", True),
    ):  # fmt: skip
        async with secured(chosen, authority, server, expired=expired) as site:
            pace = ("--rate", str(rate), "--duration", f"{(chosen.count - 0.5) / rate}s")
            words = (*pace, "--workers", "1", *authority.words(site.scratch))
            summary, _ = await site.undisturbed(partial(site.loadgen, *words))
        rows.append(row(server, "expired" if expired else "good", rate, summary))
        print("  " + "   ".join(rows[-1]), flush=True)
    heads = ("server", "certificate", "rate", "due", "outcomes", "full", "unaccounted", "cause")
    print(table(heads, rows))


async def measure(chosen: argparse.Namespace) -> None:
    authority = Authority(trustme.CA(), trustme.KeyType[chosen.key.upper()])
    print(f"{ssl.OPENSSL_VERSION}, keys: {chosen.key}")
    rate = chosen.rate
    if chosen.rounds:
        reached = await costs(chosen, authority)
        rate = rate or float(round(reached * SHARE, -2))
    if chosen.count and rate:
        await counts(chosen, authority, rate)


def main() -> None:
    parser = command.options(__doc__, "tls")
    parser.add_argument(
        "--key", choices=["ecdsa", "rsa"], default="ecdsa", help="of 256 or 2,048 bits"
    )
    parser.add_argument("--rounds", type=int, default=3, help="0 for the count alone")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run")
    parser.add_argument("--count", type=int, default=10_000, help="0 for the cost alone")
    parser.add_argument(
        "--rate", type=float, default=None, help="of the count; a quarter of the closed loop"
    )
    add_options(parser)
    command.run(measure, parser)


if __name__ == "__main__":
    main()
