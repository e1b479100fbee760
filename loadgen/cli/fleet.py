"""`loadgen fleet`: what a fleet's machines run, and what is left to do around `loadgen run --fleet`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from loadgen.cli import options, types
from loadgen.cli.group import fail


@click.group()
def command() -> None:
    """Parts of a fleet: the process on each node, a manifest for Kubernetes, a run to bring home.

    `loadgen run --fleet swarm` needs none of these by hand.
    """


@command.command()
@click.option(
    "--collector",
    type=types.COLLECTOR,
    required=True,
    envvar="CHURNLAB_COLLECTOR",
    metavar="HOST:PORT",
    help="Where control listens.  [CHURNLAB_COLLECTOR]",
)
@click.option(
    "--fleet-key",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    envvar="CHURNLAB_FLEET_KEY",
    metavar="FILE",
    help="The run's key.  [CHURNLAB_FLEET_KEY]",
)
@click.option(
    "--seat",
    required=True,
    envvar="CHURNLAB_SEAT",
    metavar="NAME",
    help="Which of the fleet's places this is; 0, 1, … with --fleet wait.  [CHURNLAB_SEAT]",
)
@click.option(
    "--node",
    default=None,
    envvar="CHURNLAB_NODE",
    metavar="NAME",
    help="This machine's name in reports.  [default: its host name; CHURNLAB_NODE]",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=None,
    help="Where the run directory is made.  [default: a temporary one, removed at the end]",
)
def shard(
    collector: tuple[str, int], fleet_key: Path, seat: str, node: str | None, folder: Path | None
) -> None:
    """Be one shard: take orders from control, run them, bring the run directory home."""
    import tempfile

    import trio

    from loadgen.fleet.shard import Shard, default_node, read_key

    try:
        key = read_key(fleet_key)
    except ValueError as error:
        fail(str(error))
    with tempfile.TemporaryDirectory(prefix="churnlab-shard-") as temporary:
        one = Shard(
            key,
            collector,
            seat=seat,
            node=node or default_node(),
            folder=folder or Path(temporary),
            check=_check,
        )
        code = trio.run(one.run)
    sys.exit(code)


def _check(arguments: Sequence[str]) -> None:
    """Check that a run with these arguments could begin here.

    Raises:
        ValueError: when not.
    """
    from dataclasses import fields

    from loadgen.cli.execute import build_config
    from loadgen.cli.run import command as run
    from loadgen.config import LoadOptions
    from loadgen.errors import ChurnlabError

    try:
        found = run.make_context("run", list(arguments)).params
        build_config(
            LoadOptions(**{field.name: found[field.name] for field in fields(LoadOptions)})
        )
    except click.ClickException as error:
        raise ValueError(error.format_message()) from None
    except ChurnlabError as error:
        raise ValueError(str(error)) from None


@command.command()
@options.directory
@options.json_file
@options.junit
@options.quiet
def resume(directory: Path, json_file: str | None, junit: Path | None, *, quiet: bool) -> None:
    """Go on with a run whose control process was killed: bring home what is left, and report.

    Shards wait for control for eight seconds after their run's end; what they had sent until then is
    in DIRECTORY whenever this is called. Services and secrets of the run are removed.
    """
    from loadgen.cli.execute import Results
    from loadgen.cli.fleet_run import resume as go_on

    code = go_on(directory, Results(json_file=json_file, junit=junit, quiet=quiet))
    sys.exit(int(code))


@command.command()
@click.option(
    "--kubernetes",
    is_flag=True,
    required=True,
    help="An Indexed Job and its Secret, as JSON for kubectl apply -f -.",
)
@click.option("--shards", type=click.IntRange(1, 10_000), required=True, help="Pods.")
@click.option(
    "--collector",
    type=types.COLLECTOR,
    required=True,
    metavar="HOST:PORT",
    help="Where pods reach the control machine.",
)
@click.option(
    "--fleet-key",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="The run's key, for loadgen run --fleet wait too; made when it is not there.",
)
@click.option(
    "--image", default="churnlab", show_default=True, help="An image that the nodes can pull."
)
@click.option("--name", default="churnlab-fleet", show_default=True, help="Of Job and Secret.")
@click.option("--namespace", default="default", show_default=True, help="Where they go.")
@click.option(
    "--sysctl",
    "sysctls",
    type=types.SYSCTL,
    multiple=True,
    metavar="KEY=VALUE",
    help="Of each pod, which then has a network of its own instead of the node's.",
)
def manifest(
    *,
    kubernetes: bool,  # noqa: ARG001 - names the only kind there is, so that another can be added
    shards: int,
    collector: tuple[str, int],
    fleet_key: Path,
    image: str,
    name: str,
    namespace: str,
    sysctls: tuple[tuple[str, str], ...],
) -> None:
    """Write a manifest of shards for another scheduler, with the same way home."""
    import msgspec

    from loadgen.fleet import conduct
    from loadgen.fleet.manifest import kubernetes as resources
    from loadgen.fleet.shard import read_key

    if not collector[0]:
        fail("--collector: pods need the control machine's address as well: HOST:PORT")
    try:
        if not fleet_key.exists():
            conduct.write_key(conduct.new_key(), fleet_key)
        found = resources(
            name=name,
            namespace=namespace,
            image=image,
            shards=shards,
            collector=collector,
            key=read_key(fleet_key),
            sysctls=dict(sysctls),
        )
    except ValueError as error:
        fail(str(error))
    except OSError as error:
        fail(f"cannot write {fleet_key}: {error.strerror}")
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
