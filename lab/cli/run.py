"""`lab run`: compare two tunings under the same load."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from lab.cli import options
from loadgen.cli import types

_EPILOG = (
    "Any sysctl.d file is a tuning: lab run --after ./90-memcached.conf. The verdict `prevents` "
    "and `reduces` exit 0; `no_effect`, `worse` and `hides` exit 99; `not_exercised`, "
    "`inconclusive` and `generator_limited` exit 3."
)


@click.command(epilog=_EPILOG)
@click.option(
    "--before",
    default="kernel-default",
    show_default=True,
    metavar="TUNING",
    help="The first arm: a built-in tuning (lab tunings) or a sysctl.d file, for client and servers; "
    "client=FILE,nat=FILE2 gives each role its own.",
)
@click.option(
    "--after", default="article", show_default=True, metavar="TUNING", help="The second arm."
)
@options.rate
@click.option(
    "--duration",
    type=types.DURATION,
    default=None,
    help="Of each trial.  [default: 5s; with --rate auto longer where the first limit takes longer to "
    "reach, at most 75s]",
)
@click.option(
    "--trials",
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    help="Trials of each arm.",
)
@click.option(
    "--testbed",
    type=click.Choice(["netns", "docker", "swarm"]),
    default="netns",
    show_default=True,
    help="netns: network namespaces of this machine. docker: containers of an engine. swarm: "
    "clients on every node of a Docker Swarm.",
)
@click.option(
    "--image",
    default="churnlab",
    show_default=True,
    help="What the containers of --testbed docker and swarm are made of.",
)
@click.option(
    "--topology",
    type=click.Choice(["direct", "router", "nat", "proxy"]),
    default="direct",
    show_default=True,
    help="What stands between client and servers: nothing, a router, a NAT (nftables' masquerade) or "
    "a proxy. Only with --testbed netns.",
)
@click.option(
    "--nat-ports",
    type=types.PORT_RANGE,
    default=None,
    help="Ports of the NAT toward a destination.  [default: the kernel's, 1024-65535]",
)
@click.option(
    "--nat-room",
    type=options.ROOM,
    default=None,
    metavar="N|auto|all",
    help="Entries that the NAT's table has left when a trial begins, as others have used the rest; "
    "auto: half of what a trial's connections need; all: the whole table.  [default: auto]",
)
@click.option(
    "--proxy",
    type=click.Choice(["haproxy", "nutcracker"]),
    default=None,
    help="haproxy opens a connection to a server for each that it takes, nutcracker keeps a few "
    "open.  [default: haproxy]",
)
@click.option(
    "--server",
    default="memcached",
    show_default=True,
    metavar="NAME|COMMAND",
    help="memcached, redis, nginx, or a command of your own with {address} and {port}, such as "
    "'my-server --listen {address}:{port}'.",
)
@click.option(
    "--server-url",
    default="",
    metavar="URL",
    help="What a command's server speaks, such as http://{address}:{port}/health.  "
    "[default: tcp://, connect and close]",
)
@click.option(
    "--tls",
    is_flag=True,
    help="The servers speak TLS, with a certificate of the lab's own, which is not verified; a "
    "command finds it and its key in the file {certificate}.",
)
@options.servers
@options.clients
@click.option("--memcached-threads", type=click.IntRange(1, 1024), default=4, show_default=True)
@click.option(
    "--rtt",
    type=types.DURATION_OR_ZERO,
    default="0",
    show_default=True,
    help="Emulated round-trip time, where the kernel has netem.",
)
@options.close
@click.option(
    "--op",
    default=None,
    help="get, set or mix:GETS/SETS; redis: ping too; nginx: get, head.  [default: get]",
)
@options.timeout
@click.option(
    "--max-lateness",
    type=types.DURATION,
    default="250ms",
    show_default=True,
    help="An arrival later than this is dropped and counted.",
)
@options.workers
@options.local_port_range
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="FAULT",
    help="Done to a server in every trial: 'kill server-1 at 2s'; also restart, pause and resume, "
    "disconnect and reconnect.",
)
@click.option(
    "--allow-host-sysctls",
    is_flag=True,
    help="Let the arms change settings that the whole host shares, such as nf_conntrack_max; "
    "they are put back afterwards.",
)
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    metavar="EXPR",
    help="A gate: 'failed: rate == 0' on every trial of the after arm, or "
    "'latency_total: p(99) <= +5% vs before', which counts only when significant; "
    "exit 99 when one does not hold.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Where the report goes.  [default: reports/TIME]",
)
@options.quiet
def command(**chosen: Any) -> None:
    """Run interleaved trials of two tunings, each in fresh namespaces, and write a report.

    Every trial starts servers and a load generator in namespaces of their own: nothing outside
    is loaded, and no setting of this machine changes unless --allow-host-sysctls is given.
    """
    from lab.cli.asked import RunOptions
    from lab.cli.edge import edge
    from lab.cli.execute import execute

    out = chosen["out"] or Path("reports", datetime.now().astimezone().strftime("%Y%m%d-%H%M%S"))

    def interrupted() -> str:
        if not any(out.glob("trials/*/summary.json")):
            return "interrupted before the first trial ended"
        return f"interrupted; what was measured: lab report {out}"

    with edge(interrupted):
        code = execute(RunOptions(**chosen), out)
    sys.exit(int(code))
