"""`lab plan`: what a tuning does at a rate, and the tuning that holds it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lab.cli import options
from loadgen.cli import types
from loadgen.cli.group import fail
from loadgen.errors import Exit, writing
from loadgen.units import spaced

if TYPE_CHECKING:
    from lab.capacity import Load
    from lab.plan import Plan
    from lab.sysctl.tuning import Tuning

THIS_HOST = "this-host"
DOCUMENTED = (
    "these are the documented defaults of that version; a distribution may have brought changes back "
    "to it: lab vm --kernel debian:VERSION -- plan … asks a real one"
)

_EPILOG = (
    "Example: lab plan --rate 20000 --output 90-churn.conf && lab run --after ./90-churn.conf. "
    "Exit codes: 0 when the tuning in question holds the rate or the computed one does; 99 when no "
    "setting does."
)


def _version(text: str) -> str:
    if re.fullmatch(r"\d{1,3}\.\d{1,4}(?:[.\-+]\S{0,60})?", text, re.ASCII) is None:
        raise ValueError(f"{text!r} is no kernel version: write one such as 5.10 or 6.18.3")
    return text


def _gibibytes(text: str) -> float:
    match = re.fullmatch(r"(\d{1,7})([MG])", text, re.ASCII)
    if match is None or not int(match[1]):
        raise ValueError(f"{text!r} is no size of memory: write one such as 512M or 4G")
    return int(match[1]) / (1024 if match[2] == "M" else 1)


@click.command(epilog=_EPILOG)
@click.option(
    "--rate",
    type=types.RATE,
    default=None,
    help="Connections a second.  [required, unless --from tells it]",
)
@click.option(
    "--from",
    "recording",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=None,
    metavar="DIR",
    help="Take rate, addresses, close mode, lifetimes and settings from what `loadgen watch --out DIR` "
    "recorded; what is given besides counts instead.",
)
@click.option(
    "--clients",
    type=click.IntRange(1, 65_536),
    default=1,
    show_default=True,
    help="Client addresses, each a pool of ports of its own.",
)
@click.option(
    "--servers",
    type=click.IntRange(1, 65_536),
    default=1,
    show_default=True,
    help="Server addresses and ports, counted as pairs.",
)
@click.option(
    "--tuning",
    default="kernel-default",
    show_default=True,
    metavar="TUNING",
    help=f"A built-in tuning, a sysctl.d file, or {THIS_HOST} for the values in force here.",
)
@options.close
@click.option(
    "--duration", type=types.DURATION, default=None, help="Of the load.  [default: endless]"
)
@click.option(
    "--rtt", type=types.DURATION_OR_ZERO, default="0.5ms", show_default=True, help="Round trip."
)
@click.option(
    "--local-port-range",
    type=types.PORT_RANGE,
    default=None,
    help="The program sets IP_LOCAL_PORT_RANGE.",
)
@click.option("--bind-early", is_flag=True, help="The program binds before it knows the server.")
@click.option(
    "--conntrack/--no-conntrack",
    default=True,
    show_default=True,
    help="Whether one table tracks all of these connections.",
)
@click.option(
    "--kernel",
    type=types.Parsed("version", _version),
    default=None,
    metavar="VERSION",
    help="Plan for this kernel, such as 5.10, from its documented defaults.  [default: the one here]",
)
@click.option(
    "--memory",
    type=types.Parsed("size", _gibibytes),
    default=None,
    metavar="SIZE",
    help="With --kernel, of the host, such as 4G: conntrack's table hangs on it.  [default: as here]",
)
@click.option(
    "--topology",
    type=click.Choice(["direct", "nat", "proxy"]),
    default="direct",
    show_default=True,
    help="What the connections pass. nat: one NAT, whose table and ports are counted. proxy: plan for "
    "a proxy that opens a connection to a server for each that it takes.",
)
@click.option(
    "--nat-addresses",
    type=click.IntRange(1, 65_536),
    default=1,
    show_default=True,
    help="Addresses of the NAT toward the servers.",
)
@click.option(
    "--nat-ports",
    type=types.PORT_RANGE,
    default=None,
    help="Ports that the NAT's rule names.  [default: the kernel's, 1024-65535]",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True),
    default=None,
    metavar="FILE|-",
    help="Write the sysctl.d file there.",
)
@click.option(
    "--proof",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    metavar="DIR",
    help="With --from: write before.conf, the host's settings as recorded, and after.conf, the same with "
    "the plan's lines, there, and print the `lab run` that compares them under the recorded load.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, allow_dash=True),
    default=None,
    metavar="FILE|-",
    help="Write the plan there as JSON.",
)
@click.pass_context
def command(context: click.Context, /, **chosen: Any) -> None:
    """Predict what a tuning does at a rate, and compute one that holds it.

    No connection is opened: the forecast follows from the settings, the addresses and what is known
    of the kernel (docs/capacity.md). `lab run` and `lab sweep` measure it.
    """
    from lab import plan as planning
    from lab.cli.edge import edge
    from loadgen.summary import encode

    if chosen["rate"] is None and chosen["recording"] is None:
        fail("how many connections a second? give --rate, or --from a recording")
    if chosen["proof"] is not None and chosen["recording"] is None:
        fail("--proof is for a recording; give --from DIR")
    if isinstance(chosen["rate"], str):
        fail(f"--rate {chosen['rate']}: a plan needs a number of connections a second")
    if "-" == chosen["output"] == chosen["json_file"]:
        fail("--output and --json cannot both be standard output")
    if chosen["memory"] is not None and chosen["kernel"] is None:
        fail("--memory is of the host that --kernel is planned for; give --kernel too")
    with edge():
        if chosen["recording"] is None:
            plan, note = _plan(chosen)
        else:
            plan, note = _recorded(chosen, _given(context)), ""
    quiet = "-" in {chosen["output"], chosen["json_file"]}
    if not quiet:
        click.echo(planning.render(plan), nl=False)
        if note:
            click.echo(f"\nnote: {note}")
    with edge():
        _write(chosen["output"], planning.sysctl_file(plan))
        _write(chosen["json_file"], encode(plan).decode())
    if not quiet and chosen["output"]:
        from lab.plan.files import proof

        target = chosen["output"]
        shown = target if "/" in target else f"./{target}"
        click.echo(f"\nwritten: {target}; prove it: {proof(plan, shown)}")
    if chosen["proof"] is not None:
        click.echo(f"\nprove it: {_proof(chosen, plan)}", err=quiet)
    if not plan.then.holds:
        raise SystemExit(int(Exit.FAILED))


def _plan(chosen: dict[str, Any]) -> tuple[Plan, str]:
    """Return the plan, and what to say about where its values come from.

    Raises:
        TuningError: for a tuning that cannot be read.
        CapacityError: for a situation that cannot be.
    """
    from lab.capacity import Load

    demand = Load(
        rate=chosen["rate"],
        duration=chosen["duration"],
        close=chosen["close"],
        sources=chosen["clients"],
        destinations=chosen["servers"],
        rtt=chosen["rtt"],
        local_port_range=chosen["local_port_range"],
        bind_early=chosen["bind_early"],
        tracked=chosen["conntrack"],
        nat=chosen["topology"] == "nat",
        nat_addresses=chosen["nat_addresses"],
        nat_ports=chosen["nat_ports"],
    )
    if chosen["topology"] == "proxy":
        return _proxy_plan(chosen, demand)
    return _plan_for(chosen, demand)


def _proxy_plan(chosen: dict[str, Any], demand: Load) -> tuple[Plan, str]:
    """Return the plan of a proxy, with a note on its clients; raises as `_plan`."""
    from dataclasses import replace

    from lab.plan.text import forecast_lines

    proxy = replace(demand, sources=1, local_port_range=None, bind_early=False)
    plan, note = _plan_for(chosen, proxy)
    clients, _ = _plan_for(chosen, replace(demand, destinations=1))
    theirs = " ".join(spaced(line) for line in forecast_lines(clients.now)[:2])
    addresses = "address" if demand.sources == 1 else "addresses"
    told = (
        "this is the plan of the proxy, a client of its servers like any other; the clients, "
        f"{demand.sources} {addresses} toward the proxy alone, under the same tuning: {theirs}"
    )
    return plan, f"{told}; {note}" if note else told


def _plan_for(chosen: dict[str, Any], demand: Load) -> tuple[Plan, str]:
    """Return the plan for a load; raises as `_plan`."""
    from lab.capacity import KEYS, CapacityError
    from lab.sysctl.apply import own_sysctls
    from lab.sysctl.values import unfit_value
    from lab.testbed.fresh import fresh_values
    from lab.tunings import load, plan_for

    name, release = chosen["tuning"], chosen["kernel"]
    if release is not None:
        return _elsewhere(demand, chosen), DOCUMENTED
    if name == THIS_HOST:
        known, note = own_sysctls(KEYS), ""
    else:
        tuning = load(name, demand)
        fresh, note = fresh_values(KEYS)
        known = fresh | {
            setting.key: setting.value
            for setting in tuning.settings
            # A line written `-key` whose value the kernel does not take is one that is not there.
            if setting.key in fresh and not unfit_value(setting.key, setting.value)
        }
        try:
            return plan_for(demand, known, tuning=name), note
        except CapacityError as error:
            raise CapacityError(_located(str(error), tuning)) from None
    return plan_for(demand, known, tuning=name), note


def _given(context: click.Context) -> set[str]:
    """Return the options that stand on the command line."""
    source = click.core.ParameterSource.COMMANDLINE
    return {name for name in context.params if context.get_parameter_source(name) == source}


_FIELDS = {
    "rate": "rate", "duration": "duration", "close": "close", "clients": "sources",
    "servers": "destinations", "local_port_range": "local_port_range", "bind_early": "bind_early",
    "conntrack": "tracked",
}  # fmt: skip
"""Options by what they are called in a load."""


def _recorded(chosen: dict[str, Any], given: set[str]) -> Plan:
    """Return the plan for a recorded load, on the host that was recorded.

    Raises:
        RecordingError: for a recording that cannot be read.
        TuningError: for a tuning that cannot be read.
        CapacityError: for a situation that cannot be.
    """
    from dataclasses import replace

    import msgspec

    from lab.plan.recorded import recorded
    from lab.tunings import load, plan_for
    from loadgen.watch.recorded import read

    found = recorded(read(chosen["recording"]), rtt=chosen["rtt"])
    mine = {_FIELDS[name]: chosen[name] for name in given & _FIELDS.keys()}
    demand = replace(found.load, **mine)
    known, name = dict(found.sysctls), "as recorded"
    if "tuning" in given:
        name = chosen["tuning"]
        known |= {key: value for key, value in load(name, demand).values.items() if key in known}
    plan = plan_for(demand, known, tuning=name, release=found.kernel)
    return msgspec.structs.replace(plan, notes=[*found.notes, *plan.notes])


def _proof(chosen: dict[str, Any], plan: Plan) -> str:
    """Write the two tunings, and return the command that compares them."""
    from lab.plan.files import compared, proof
    from loadgen.watch.recorded import read

    folder: Path = chosen["proof"]
    head = read(chosen["recording"]).head
    assert head is not None
    before, after = compared(plan, head.sysctls)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(f"cannot write {folder}: {error.strerror}")
    shown = f"./{folder}" if not folder.is_absolute() else str(folder)
    _write(f"{folder}/before.conf", before)
    _write(f"{folder}/after.conf", after)
    return proof(plan, f"{shown}/after.conf", f"{shown}/before.conf")


def _elsewhere(demand: Load, chosen: dict[str, Any]) -> Plan:
    """Return the plan for a kernel that is not at hand.

    Raises:
        TuningError: for a tuning that cannot be read.
        CapacityError: for a situation that cannot be.
    """
    import os

    from lab.capacity.defaults import defaults
    from lab.tunings import RECOMMENDED, load, plan_for

    name, release, memory = chosen["tuning"], chosen["kernel"], chosen["memory"]
    if name in {THIS_HOST, RECOMMENDED}:
        fail(f"--kernel with --tuning {name}: that is of the kernel here; leave one of them out")
    if memory is None:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)
    there = defaults(release, memory)
    wanted = load(name, demand).values
    known = {**there, **{key: value for key, value in wanted.items() if key in there}}
    return plan_for(demand, known, tuning=name, release=release)


def _located(message: str, tuning: Tuning) -> str:
    """Return what is wrong with a setting, with the file and the line that it comes from."""
    from lab.sysctl.tuning import where

    for setting in tuning.settings:
        if message.startswith((f"{setting.key} ", f"{setting.key}:")):
            return f"{where(tuning, setting.line)}: {message}"
    return message


def _write(where: str | None, text: str) -> None:
    if where is None:
        return
    if where == "-":
        click.echo(text, nl=False)
        return
    with writing(where):
        Path(where).write_text(text, encoding="utf-8")
