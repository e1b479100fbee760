"""`loadgen run`: open short connections on a schedule and say what happened to each."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import click

from loadgen.cli import options, types
from loadgen.cli.group import fail


@click.command(
    epilog="Example: loadgen run 127.0.0.1:11211 --rate 20000 --duration 60s --threshold 'failed: rate == 0'"
)
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@click.option(
    "--rate",
    type=types.FIXED_RATE,
    default=None,
    help="Arrivals a second, or max: the closed loop, as fast as --concurrency allows.  [default: 1000]",
)
@click.option(
    "--duration",
    type=types.DURATION,
    default="10s",
    show_default=True,
    help="How long arrivals fall due.",
)
@click.option(
    "--schedule",
    default="constant",
    show_default=True,
    help="constant, poisson, ramp:FROM-TO or steps:R1,R2,… (rates a second).",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 1_000_000),
    default=64,
    show_default=True,
    help="Attempts under way with --rate max.",
)
@click.option(
    "--warmup",
    type=types.DURATION_OR_ZERO,
    default="0s",
    show_default=True,
    help="Load before the run that is not counted.",
)
@click.option(
    "--op",
    default=None,
    help="memcached: get, set, mix:GETS/SETS such as mix:90/10, mg, ms; redis: get, set, mix:…, ping; http: get, head.  [default: get]",
)
@click.option(
    "--send",
    default="",
    metavar="BYTES|@FILE",
    help=r"tcp://: what is sent, such as 'PING\r\n'; \xHH is any byte.",
)
@click.option(
    "--expect",
    default="",
    metavar="BYTES|@FILE",
    help="tcp://: what the answer begins with. Without it none is awaited.",
)
@click.option(
    "--http-host",
    default="",
    metavar="NAME",
    help="http://: the Host to ask for.  [default: the target's]",
)
@click.option(
    "--status-path",
    default="",
    metavar="PATH",
    help="http://: where nginx' stub_status is, such as /nginx_status; sampled at each target.",
)
@click.option("--tls", is_flag=True, help="Speak TLS, as memcacheds://, rediss://, https:// do.")
@click.option(
    "--tls-ca",
    default="",
    metavar="FILE",
    help="Certificates that are trusted.  [default: the system's]",
)
@click.option(
    "--tls-name",
    default="",
    metavar="NAME",
    help="The name that the server's certificate must have.  [default: the target's host]",
)
@click.option("--tls-insecure", is_flag=True, help="Accept any certificate.")
@click.option(
    "--tls-resume",
    is_flag=True,
    help="Resume sessions, as a client that keeps them does; else each handshake is a full one.",
)
@click.option(
    "--password-file",
    type=click.Path(dir_okay=False),
    default=None,
    metavar="FILE",
    help="Holds the password, which else stands in the URL: redis://:PASSWORD@HOST.",
)
@click.option(
    "--key-space",
    type=click.IntRange(1, 10_000_000),
    default=1000,
    show_default=True,
    help="Keys drawn from.",
)
@click.option(
    "--value-size",
    type=click.IntRange(0, 1_000_000),
    default=100,
    show_default=True,
    help="Bytes of a value.",
)
@click.option(
    "--requests-per-connection",
    type=click.IntRange(1, 1_000_000),
    default=1,
    show_default=True,
    help="Requests before the connection is closed.",
)
@click.option(
    "--close",
    type=click.Choice(["client", "server", "rst"]),
    default="client",
    show_default=True,
    help="Who closes first and keeps TIME_WAIT: client FIN, server FIN (quit, Connection: close), or a reset.",
)
@click.option(
    "--client",
    type=click.Choice(["raw", "pymemcache"]),
    default="raw",
    show_default=True,
    help="raw: the fast loop. pymemcache: the real library, a connection a call, in threads.",
)
@click.option(
    "--source-ip",
    "source_addresses",
    multiple=True,
    metavar="ADDR",
    help="Source address; several give several pools of ports.",
)
@click.option(
    "--bind-early",
    is_flag=True,
    help="Bind sources without IP_BIND_ADDRESS_NO_PORT, as careless clients do.",
)
@click.option(
    "--local-port-range",
    type=types.PORT_RANGE,
    default=None,
    help="The socket option IP_LOCAL_PORT_RANGE (Linux 6.3): searches with step 1.",
)
@click.option(
    "--timeout",
    type=types.DURATION,
    default="3s",
    show_default=True,
    help="Longest life of an attempt.",
)
@click.option(
    "--connect-timeout",
    type=types.DURATION,
    default=None,
    help="Longest handshake.  [default: --timeout]",
)
@click.option(
    "--max-lateness",
    type=types.DURATION,
    default="100ms",
    show_default=True,
    help="An arrival later than this is dropped and counted.",
)
@click.option(
    "--workers",
    type=types.WORKERS,
    default="auto",
    show_default=True,
    help="Worker processes; auto is one a CPU, half where the servers share the machine.",
)
@click.option(
    "--max-in-flight",
    type=click.IntRange(1, 10_000_000),
    default=None,
    help="Attempts under way at most.  [default: what open files allow]",
)
@click.option(
    "--netns",
    "namespaces",
    multiple=True,
    metavar="[ROLE=]NAME|PID",
    help="Another namespace to sample: server (default), router, nat, proxy, host or client-2.",
)
@click.option(
    "--interval",
    "sample_interval",
    type=types.DURATION,
    default="100ms",
    show_default=True,
    help="Time between two samples.",
)
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    metavar="EXPR",
    help="A gate, such as 'failed: rate == 0' or 'latency_total: p(99) < 5ms'; exit 99 when one does not hold.  [default: 'ok: count > 0']",
)
@click.option(
    "--abort-on-fail", is_flag=True, help="End as soon as a threshold cannot hold any more."
)
@click.option(
    "--allow-target",
    "allowed",
    type=types.NETWORK,
    multiple=True,
    metavar="CIDR",
    help="Allow load outside loopback and 198.18.0.0/15. Only for hosts that are yours.",
)
@click.option(
    "--shard",
    type=types.SHARD,
    default="1/1",
    help="This is generator I of N on several machines: it makes every N-th arrival.",
)
@click.option(
    "--start-at",
    default=None,
    metavar="TIME",
    help="Begin at this time: RFC 3339 or seconds since the epoch.",
)
@click.option(
    "--fleet",
    type=click.Choice(["swarm", "wait"]),
    default=None,
    help="Run on several machines: one shard a node of the Docker Swarm, or those that others start.",
)
@click.option(
    "--shards",
    type=click.IntRange(1, 10_000),
    default=None,
    help="Shards of the fleet.  [default: one a node]",
)
@click.option(
    "--collector",
    type=types.COLLECTOR,
    default=None,
    metavar="[HOST]:PORT",
    help="Where shards reach this machine.  [default: its address toward the nodes, any port]",
)
@click.option(
    "--fleet-wait",
    type=types.DURATION,
    default="60s",
    show_default=True,
    help="How long shards may take to come.",
)
@click.option(
    "--fleet-key",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    metavar="FILE",
    help="The key that shards started by others have (loadgen fleet manifest).",
)
@click.option(
    "--image", default="churnlab", show_default=True, help="The image of a fleet's shards."
)
@click.option(
    "--fleet-network",
    default="",
    metavar="NAME",
    help="An overlay network of the swarm that shards are on.  [default: their node's own network]",
)
@click.option(
    "--fleet-sysctl",
    type=types.SYSCTL,
    multiple=True,
    metavar="KEY=VALUE",
    help="Of every shard's container, with --fleet-network. Repeatable.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=1,
    show_default=True,
    help="Draws keys and Poisson arrivals.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Run directory.  [default: a new one under ./runs]",
)
@options.json_file
@options.junit
@options.quiet
def command(
    *,
    start_at: str | None,
    out: Path | None,
    json_file: str | None,
    junit: Path | None,
    quiet: bool,
    fleet: Literal["swarm", "wait"] | None,
    shards: int | None,
    collector: tuple[str, int] | None,
    fleet_wait: float,
    fleet_key: Path | None,
    image: str,
    fleet_network: str,
    fleet_sysctl: tuple[tuple[str, str], ...],
    **chosen: Any,
) -> None:
    """Open short connections on a schedule and say what happened to each.

    TARGET is HOST:PORT of a memcached, 127.0.0.1:11211 when left out, or a URL: memcached://HOST,
    redis://HOST, http://HOST/PATH, tcp://HOST:PORT; with TLS memcacheds://, rediss://, https:// and
    tls://HOST:PORT. Several are used in turn. The summary goes to
    stderr, the files of the run to --out.
    """
    from loadgen.cli.execute import Results, execute
    from loadgen.config import LoadOptions

    try:
        load = LoadOptions(**chosen)
        results = Results(out=out, json_file=json_file, junit=junit, quiet=quiet)
        if fleet is None:
            code = execute(load, results, start_at=start_at)
        else:
            from loadgen.cli import fleet_run

            if start_at is not None:
                fail("--start-at is what a fleet agrees on by itself; leave it out with --fleet")
            wanted = fleet_run.FleetOptions(
                kind=fleet,
                shards=shards,
                collector=collector,
                wait=fleet_wait,
                key=fleet_key,
                image=image,
                network=fleet_network,
                sysctls=fleet_sysctl,
            )
            code = fleet_run.execute(load, wanted, results)
    except ValueError as error:
        fail(str(error))
    sys.exit(int(code))
